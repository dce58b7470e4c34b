//! A boosted cascade, read from OpenCV's XML.
//!
//! The paper (P. Viola, M. Jones: "Rapid object detection using a boosted
//! cascade of simple features", CVPR 2001) has a *cascade* of *stages*; each
//! compares a sum of *weak classifiers* with a threshold. OpenCV stores the
//! weak classifiers as small binary trees (most have one node: a stump) with
//! one of two kinds of feature:
//!
//! - **Haar**: a weighted sum of two or three rectangles of pixels, upright or
//!   turned by 45 degrees (R. Lienhart, J. Maydt, ICIP 2002), compared with a
//!   threshold;
//! - **LBP**: the local binary pattern of a grid of 3x3 equal blocks, an
//!   8-bit code looked up in a set of 256 bits (S. Liao et al., ICB 2007).
//!
//! This module keeps the structure of the file and checks it, so that later
//! code can index safely: every feature lies inside the window, every node's
//! children exist and come after it, every number is finite. [`super::windows`]
//! evaluates it fast.

use std::fs;
use std::path::{Path, PathBuf};

use roxmltree::{Document, Node as Xml};

/// OpenCV lowers every stage threshold by this much when it reads the file.
const THRESHOLD_EPS: f32 = 1e-5;

/// The accepted sides of a detection window, in pixels. Below 3 the rectangle
/// for the contrast is empty; up to 256 the arithmetic of the contrast is exact
/// in `f64`.
const WINDOW_SIDES: std::ops::RangeInclusive<u32> = 3..=256;

/// A valid cascade.
#[derive(Clone, Debug, PartialEq)]
pub struct Cascade {
    pub(super) window: (u32, u32),
    pub(super) features: Features,
    pub(super) stages: Vec<Stage>,
}

/// All features of a cascade; nodes name them by index.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Features {
    Haar(Vec<HaarFeature>),
    Lbp(Vec<LbpFeature>),
}

/// A weighted sum of rectangles, in pixels of the detection window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HaarFeature {
    /// Two or three, in the order of the file: the `f32` sum depends on it.
    pub rects: Vec<WeightedRect>,
    /// Turned by 45 degrees: then `(x, y)` is the topmost corner, `width` goes
    /// down to the right and `height` down to the left.
    pub tilted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct WeightedRect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
    pub weight: f32,
}

/// The top left block of a grid of 3x3 blocks of the same size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LbpFeature {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// A window passes if the sum of the trees' leaves is at least `threshold`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stage {
    pub threshold: f32,
    pub trees: Vec<Tree>,
}

/// A weak classifier: evaluation starts at node 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tree {
    pub nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub feature: usize,
    pub split: Split,
    /// Taken if the feature is below the threshold or in the subset.
    pub left: Child,
    pub right: Child,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Split {
    Below(f32),
    /// 256 bits, code `c` at bit `c % 32` of word `c / 32`.
    In([u32; 8]),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Child {
    Leaf(f32),
    /// Always a later node of the same tree.
    Node(usize),
}

/// Why a cascade could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CascadeError {
    #[error("cannot read cascade {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cascade {}: {source}", path.display())]
    File {
        path: PathBuf,
        source: Box<CascadeError>,
    },
    /// The message names line and column.
    #[error("not well-formed XML: {0}")]
    Xml(#[from] roxmltree::Error),
    #[error(
        "line {line}: a cascade in OpenCV's old format (before 2.4); take the file of the same name from OpenCV 3 or 4, or Debian's opencv-data"
    )]
    OldFormat { line: u32 },
    #[error("line {line}: {what} is not supported; {instead}")]
    Unsupported {
        line: u32,
        what: String,
        instead: &'static str,
    },
    #[error("line {line}: <{parent}> has no <{name}>")]
    Missing {
        line: u32,
        parent: String,
        name: &'static str,
    },
    #[error("line {line}: {what}")]
    Invalid { line: u32, what: String },
}

impl Cascade {
    /// Reads a cascade from a file.
    ///
    /// # Errors
    /// The file cannot be read, or [`Cascade::parse`] refuses it; the message
    /// names the file.
    pub fn load(path: &Path) -> Result<Self, CascadeError> {
        let text = fs::read_to_string(path).map_err(|source| CascadeError::Read {
            path: path.into(),
            source,
        })?;
        Self::parse(&text).map_err(|source| CascadeError::File {
            path: path.into(),
            source: Box::new(source),
        })
    }

    /// Reads a cascade from the text of an XML file in the format of OpenCV
    /// 2.4 to 4 (`<cascade>` with a `<stageType>`).
    ///
    /// ```
    /// use affectd::detect::Cascade;
    /// let xml = include_str!(concat!(
    ///     env!("CARGO_MANIFEST_DIR"),
    ///     "/models/haarcascade_frontalface_default.xml"
    /// ));
    /// assert_eq!(Cascade::parse(xml).unwrap().window(), (24, 24));
    /// let cut = &xml[..xml.len() / 2];
    /// assert!(Cascade::parse(cut).is_err());
    /// ```
    ///
    /// # Errors
    /// The text is not well-formed, has the old format or an unsupported kind
    /// (HOG features, more than 256 categories), or has an invalid value: the
    /// message names the line.
    pub fn parse(xml: &str) -> Result<Self, CascadeError> {
        let document = Document::parse(xml)?;
        let file = Reader {
            document: &document,
        };
        let root = file.root()?;

        let window = (
            file.one::<u32>(file.child(root, "width")?)?,
            file.one::<u32>(file.child(root, "height")?)?,
        );
        for side in [window.0, window.1] {
            if !WINDOW_SIDES.contains(&side) {
                return Err(file.invalid(
                    root,
                    format!(
                        "the window is {}x{} pixels, but its sides must be from {} to {}",
                        window.0,
                        window.1,
                        WINDOW_SIDES.start(),
                        WINDOW_SIDES.end()
                    ),
                ));
            }
        }
        let stage_type = file.child(root, "stageType")?;
        if text(stage_type) != "BOOST" {
            return Err(file.unsupported(
                stage_type,
                format!("stage type {:?}", text(stage_type)),
                "only BOOST is",
            ));
        }

        let features = file.features(root, window)?;
        let stages = file.stages(root, &features)?;
        Ok(Self {
            window,
            features,
            stages,
        })
    }

    /// Width and height of the detection window in pixels: the smallest face
    /// that this cascade can find.
    #[must_use]
    pub const fn window(&self) -> (u32, u32) {
        self.window
    }
}

/// The text of an element without the white space around it.
fn text<'a>(node: Xml<'a, '_>) -> &'a str {
    node.text().unwrap_or_default().trim()
}

/// The elements of a list, which OpenCV writes as `<_>`.
fn items<'a, 'input>(node: Xml<'a, 'input>) -> impl Iterator<Item = Xml<'a, 'input>> {
    node.children().filter(|child| child.has_tag_name("_"))
}

/// The document, for line numbers in errors.
struct Reader<'a, 'input> {
    document: &'a Document<'input>,
}

impl<'a, 'input> Reader<'a, 'input> {
    fn line(&self, node: Xml<'_, '_>) -> u32 {
        self.document.text_pos_at(node.range().start).row
    }

    fn invalid(&self, node: Xml<'_, '_>, what: String) -> CascadeError {
        CascadeError::Invalid {
            line: self.line(node),
            what,
        }
    }

    fn unsupported(&self, node: Xml<'_, '_>, what: String, instead: &'static str) -> CascadeError {
        CascadeError::Unsupported {
            line: self.line(node),
            what,
            instead,
        }
    }

    fn child(
        &self,
        parent: Xml<'a, 'input>,
        name: &'static str,
    ) -> Result<Xml<'a, 'input>, CascadeError> {
        parent
            .children()
            .find(|child| child.has_tag_name(name))
            .ok_or_else(|| CascadeError::Missing {
                line: self.line(parent),
                parent: parent.tag_name().name().into(),
                name,
            })
    }

    /// Numbers separated by white space. OpenCV writes `3.` and `-1.5e-002`,
    /// which Rust reads as well.
    fn numbers<T: std::str::FromStr>(&self, node: Xml<'_, '_>) -> Result<Vec<T>, CascadeError> {
        text(node)
            .split_ascii_whitespace()
            .map(|word| {
                word.parse().map_err(|_| {
                    self.invalid(
                        node,
                        format!(
                            "{word:?} in <{}> is not {}",
                            node.tag_name().name(),
                            if size_of::<T>() == 8 {
                                "a number"
                            } else {
                                "a whole number in range"
                            }
                        ),
                    )
                })
            })
            .collect()
    }

    fn one<T: std::str::FromStr + Copy>(&self, node: Xml<'_, '_>) -> Result<T, CascadeError> {
        match self.numbers(node)?[..] {
            [number] => Ok(number),
            ref other => Err(self.invalid(
                node,
                format!(
                    "<{}> holds {} numbers instead of one",
                    node.tag_name().name(),
                    other.len()
                ),
            )),
        }
    }

    /// A real number as OpenCV stores it: read as `f64`, then rounded to `f32`.
    fn real(&self, node: Xml<'_, '_>, value: f64) -> Result<f32, CascadeError> {
        let value = value as f32;
        if value.is_finite() {
            Ok(value)
        } else {
            Err(self.invalid(node, format!("{value} is not a finite number")))
        }
    }

    fn root(&self) -> Result<Xml<'a, 'input>, CascadeError> {
        let top = self.document.root_element();
        let cascade = top
            .children()
            .find(Xml::is_element)
            .ok_or_else(|| self.invalid(top, "no cascade in this file".into()))?;
        // Not every cascade in the new format has its type (the LBP ones do
        // not).
        let is_new = cascade
            .children()
            .any(|node| node.has_tag_name("stageType"));
        match cascade.attribute("type_id") {
            Some("opencv-haar-classifier") => Err(CascadeError::OldFormat {
                line: self.line(cascade),
            }),
            _ if is_new => Ok(cascade),
            _ => Err(self.invalid(
                cascade,
                format!(
                    "<{}> is not a cascade of OpenCV: it has no <stageType>",
                    cascade.tag_name().name()
                ),
            )),
        }
    }

    fn features(
        &self,
        root: Xml<'a, 'input>,
        window: (u32, u32),
    ) -> Result<Features, CascadeError> {
        let kind = self.child(root, "featureType")?;
        let params = self.child(root, "featureParams")?;
        let categories: u32 = match params
            .children()
            .find(|node| node.has_tag_name("maxCatCount"))
        {
            Some(node) => self.one(node)?,
            None => 0,
        };
        let list = self.child(root, "features")?;
        let features = match (text(kind), categories) {
            ("HAAR", 0) => Features::Haar(
                items(list)
                    .map(|item| self.haar(item, window))
                    .collect::<Result<_, _>>()?,
            ),
            ("LBP", 256) => Features::Lbp(
                items(list)
                    .map(|item| self.lbp(item, window))
                    .collect::<Result<_, _>>()?,
            ),
            ("HAAR" | "LBP", _) => {
                return Err(self.unsupported(
                    params,
                    format!("{} with {categories} categories", text(kind)),
                    "HAAR has 0 and LBP 256",
                ));
            }
            (other, _) => {
                return Err(self.unsupported(
                    kind,
                    format!("feature type {other:?}"),
                    "HAAR and LBP are",
                ));
            }
        };
        Ok(features)
    }

    fn haar(&self, item: Xml<'a, 'input>, window: (u32, u32)) -> Result<HaarFeature, CascadeError> {
        let tilted = match item.children().find(|node| node.has_tag_name("tilted")) {
            Some(node) => self.one::<u8>(node)? != 0,
            None => false,
        };
        let list = self.child(item, "rects")?;
        let mut rects = Vec::with_capacity(3);
        for node in items(list) {
            let numbers = self.numbers::<f64>(node)?;
            let &[x, y, width, height, weight] = &numbers[..] else {
                return Err(self.invalid(
                    node,
                    format!(
                        "a rectangle has 5 numbers (x, y, width, height, weight), not {}",
                        numbers.len()
                    ),
                ));
            };
            let [x, y, width, height] = self.sides(node, [x, y, width, height], window)?;
            let fits = if tilted {
                height <= x && x + width <= window.0 && y + width + height <= window.1
            } else {
                x + width <= window.0 && y + height <= window.1
            };
            if !fits {
                return Err(self.outside(node, window));
            }
            rects.push(WeightedRect {
                x,
                y,
                width,
                height,
                weight: self.real(node, weight)?,
            });
        }
        if !(1..=3).contains(&rects.len()) {
            return Err(self.invalid(
                list,
                format!("a feature of {} rectangles: it has 1 to 3", rects.len()),
            ));
        }
        Ok(HaarFeature { rects, tilted })
    }

    fn lbp(&self, item: Xml<'a, 'input>, window: (u32, u32)) -> Result<LbpFeature, CascadeError> {
        let node = self.child(item, "rect")?;
        let numbers = self.numbers::<f64>(node)?;
        let &[x, y, width, height] = &numbers[..] else {
            return Err(self.invalid(
                node,
                format!(
                    "a block has 4 numbers (x, y, width, height), not {}",
                    numbers.len()
                ),
            ));
        };
        let [x, y, width, height] = self.sides(node, [x, y, width, height], window)?;
        if x + 3 * width > window.0 || y + 3 * height > window.1 {
            return Err(self.outside(node, window));
        }
        Ok(LbpFeature {
            x,
            y,
            width,
            height,
        })
    }

    /// Whole numbers from 0 to the window's sides.
    fn sides(
        &self,
        node: Xml<'_, '_>,
        numbers: [f64; 4],
        window: (u32, u32),
    ) -> Result<[u32; 4], CascadeError> {
        let largest = f64::from(window.0.max(window.1));
        if numbers
            .iter()
            .any(|&n| n.fract() != 0.0 || !(0.0..=largest).contains(&n))
        {
            return Err(self.outside(node, window));
        }
        Ok(numbers.map(|n| n as u32))
    }

    fn outside(&self, node: Xml<'_, '_>, window: (u32, u32)) -> CascadeError {
        self.invalid(
            node,
            format!(
                "rectangle {:?} does not lie inside the window of {}x{}",
                text(node),
                window.0,
                window.1
            ),
        )
    }

    fn stages(
        &self,
        root: Xml<'a, 'input>,
        features: &Features,
    ) -> Result<Vec<Stage>, CascadeError> {
        let list = self.child(root, "stages")?;
        let mut stages = Vec::new();
        for item in items(list) {
            let node = self.child(item, "stageThreshold")?;
            let threshold = self.real(node, self.one(node)?)? - THRESHOLD_EPS;
            let weak = self.child(item, "weakClassifiers")?;
            let trees = items(weak)
                .map(|item| self.tree(item, features))
                .collect::<Result<Vec<_>, _>>()?;
            if trees.is_empty() {
                return Err(self.invalid(weak, "a stage without weak classifiers".into()));
            }
            stages.push(Stage { threshold, trees });
        }
        if stages.is_empty() {
            return Err(self.invalid(list, "a cascade without stages".into()));
        }
        Ok(stages)
    }

    fn tree(&self, item: Xml<'a, 'input>, features: &Features) -> Result<Tree, CascadeError> {
        let list = self.child(item, "internalNodes")?;
        let leaves_list = self.child(item, "leafValues")?;
        let leaves = self
            .numbers::<f64>(leaves_list)?
            .into_iter()
            .map(|value| self.real(leaves_list, value))
            .collect::<Result<Vec<_>, _>>()?;
        // Left child, right child and feature, then a threshold or a subset.
        let (step, feature_count) = match features {
            Features::Haar(list) => (4, list.len()),
            Features::Lbp(list) => (11, list.len()),
        };
        let numbers = self.numbers::<f64>(list)?;
        if numbers.is_empty() || numbers.len() % step != 0 {
            return Err(self.invalid(
                list,
                format!("{} numbers: a node has {step}", numbers.len()),
            ));
        }
        let count = numbers.len() / step;
        let whole = |value: f64| {
            (value.fract() == 0.0 && value.abs() <= f64::from(u32::MAX)).then_some(value as i64)
        };
        let mut nodes = Vec::with_capacity(count);
        for (index, numbers) in numbers.chunks_exact(step).enumerate() {
            let bad = |what: &str, value: f64| {
                self.invalid(list, format!("node {index} has {what} {value}"))
            };
            let child = |value: f64| match whole(value) {
                // A child before its parent would make a loop.
                Some(node) if node > index as i64 && node < count as i64 => {
                    Ok(Child::Node(node as usize))
                }
                Some(leaf) if leaf <= 0 && leaf.unsigned_abs() < leaves.len() as u64 => {
                    Ok(Child::Leaf(leaves[leaf.unsigned_abs() as usize]))
                }
                _ => Err(bad("the impossible child", value)),
            };
            let feature = match whole(numbers[2]) {
                Some(feature) if (0..feature_count as i64).contains(&feature) => feature as usize,
                _ => return Err(bad("the unknown feature", numbers[2])),
            };
            let split = match features {
                Features::Haar(_) => Split::Below(self.real(list, numbers[3])?),
                Features::Lbp(_) => {
                    let mut subset = [0; 8];
                    for (word, &value) in subset.iter_mut().zip(&numbers[3..]) {
                        // Written as a signed 32-bit number.
                        *word = whole(value)
                            .and_then(|value| i32::try_from(value).ok())
                            .ok_or_else(|| bad("the subset word", value))?
                            as u32;
                    }
                    Split::In(subset)
                }
            };
            nodes.push(Node {
                feature,
                split,
                left: child(numbers[0])?,
                right: child(numbers[1])?,
            });
        }
        Ok(Tree { nodes })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A cascade of one stump over two halves of a 4x4 window.
    pub(in crate::detect) const SMALL: &str = r#"<?xml version="1.0"?>
<opencv_storage>
<cascade type_id="opencv-cascade-classifier"><stageType>BOOST</stageType>
  <featureType>HAAR</featureType>
  <height>4</height>
  <width>4</width>
  <stageParams><maxWeakCount>1</maxWeakCount></stageParams>
  <featureParams><maxCatCount>0</maxCatCount></featureParams>
  <stageNum>1</stageNum>
  <stages>
    <_>
      <maxWeakCount>1</maxWeakCount>
      <stageThreshold>5.0e-001</stageThreshold>
      <weakClassifiers>
        <_>
          <internalNodes>
            0 -1 0 -3.1e-003</internalNodes>
          <leafValues>
            1. -1.</leafValues></_></weakClassifiers></_></stages>
  <features>
    <_>
      <rects>
        <_>
          0 0 4 4 -1.</_>
        <_>
          0 0 2 4 2.</_></rects>
      <tilted>0</tilted></_></features></cascade>
</opencv_storage>
"#;

    fn refusal(from: &str, to: &str) -> String {
        assert!(SMALL.contains(from), "{from:?} is not in the example");
        Cascade::parse(&SMALL.replace(from, to))
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn the_example_reads_as_written() {
        let cascade = Cascade::parse(SMALL).unwrap();
        assert_eq!(cascade.window(), (4, 4));
        assert_eq!(
            cascade.stages,
            [Stage {
                threshold: 0.5 - 1e-5,
                trees: vec![Tree {
                    nodes: vec![Node {
                        feature: 0,
                        split: Split::Below(-3.1e-3),
                        left: Child::Leaf(1.0),
                        right: Child::Leaf(-1.0),
                    }]
                }]
            }]
        );
    }

    #[test]
    fn refusals_name_the_line_and_the_reason() {
        assert_eq!(
            refusal("0 0 2 4 2.", "0 0 2 5 2."),
            "line 25: rectangle \"0 0 2 5 2.\" does not lie inside the window of 4x4"
        );
        assert_eq!(
            refusal("<tilted>0", "<tilted>1"),
            "line 23: rectangle \"0 0 4 4 -1.\" does not lie inside the window of 4x4"
        );
        assert_eq!(
            refusal("0 -1 0 -3.1e-003", "0 -2 0 -3.1e-003"),
            "line 16: node 0 has the impossible child -2"
        );
        assert_eq!(
            refusal("0 -1 0 -3.1e-003", "0 -1 1 -3.1e-003"),
            "line 16: node 0 has the unknown feature 1"
        );
        assert_eq!(
            refusal("0 -1 0 -3.1e-003", "0 -1 0"),
            "line 16: 3 numbers: a node has 4"
        );
        assert_eq!(
            refusal("0 -1 0 -3.1e-003", "0 -1 0 high"),
            "line 16: \"high\" in <internalNodes> is not a number"
        );
        assert_eq!(
            refusal("5.0e-001", "inf"),
            "line 13: inf is not a finite number"
        );
        assert_eq!(
            refusal("<width>4</width>", ""),
            "line 3: <cascade> has no <width>"
        );
        assert!(refusal("<width>4", "<width>1000000").contains("window is 1000000x4 pixels"));
        assert!(refusal(">HAAR<", ">HOG<").starts_with("line 4: feature type \"HOG\" is not"));
        assert!(refusal(">HAAR<", ">LBP<").contains("LBP with 0 categories is not supported"));
        assert!(
            refusal("opencv-cascade-classifier", "opencv-haar-classifier").contains("old format")
        );
        assert!(refusal("</features>", "").starts_with("not well-formed XML"));
        assert!(refusal("0 0 2 4 2.", "0 0 2 4").contains("5 numbers"));
    }

    #[test]
    fn a_loop_between_nodes_is_refused() {
        let looped = SMALL
            .replace("0 -1 0 -3.1e-003", "1 -1 0 0.1 0 1 0 0.2")
            .replace("1. -1.</leaf", "1. -1. 2.</leaf");
        assert_eq!(
            Cascade::parse(&looped).unwrap_err().to_string(),
            "line 16: node 1 has the impossible child 1"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Cascade::load(Path::new("/nowhere/face.xml")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/face.xml"), "{error}");
    }
}
