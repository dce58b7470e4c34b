//! The cascade over many neighbouring windows at once.
//!
//! The same corner of neighbouring windows lies in neighbouring words of the
//! integral image (see [`crate::detect::integral`]). So one load reads it for a
//! whole *group* of [`Lanes::COUNT`] windows, and all arithmetic is done for
//! the group. Some rows of windows go through the stages together, one stage
//! after the other. After each stage the remaining windows are *regrouped*: a
//! group starts at the first remaining window and includes those at the next
//! few places, so gaps cost no time. [`TOGETHER`] groups are evaluated at a
//! time to share the decoding of features.
//!
//! Every window gets the same answer as from [`super::scalar`], to the bit:
//!
//! - **A feature is an integer.** Rectangles have whole weights and their sums
//!   stay below 2^24, so all products and sums that `scalar` computes in `f32`
//!   are exact, in any order. So corners can be merged: if two rectangles share
//!   a corner, it is read once. This leaves four shapes, [`Edge`], [`Line`],
//!   [`Diagonal`] and, for the rest, [`Mixed`]. A cascade with other weights is
//!   not packed ([`Program::pair`] returns `None`).
//! - **Scaling by contrast and the comparison with the threshold** are the same
//!   two `f32` operations.
//! - **A stage's sum** is computed in `f32`, but in `f64` by `scalar`, so the
//!   two may differ. The largest difference is known when the cascade is read
//!   ([`Stage::new`]). If a sum is closer to the stage's threshold than that,
//!   about one in ten thousand, `scalar` decides.
//!
//! Features can be evaluated in any order too: those of a stage are sorted by
//! shape, each shape has its own loop without branches, and they lie in memory
//! in the order in which they are read.

use super::contrast::Contrast;
use super::places::{BATCH, Rows, block_corners, corners, needs_tilted};
use super::scalar;
use super::skip::skipped;
use crate::detect::cascade::{self, Cascade, Child, Features, Split};
use crate::detect::integral::{Integral, Layout};

/// Groups evaluated together.
const TOGETHER: usize = 4;

/// More nodes than this in one tree are not packed; the largest known has 3.
const MAX_NODES: usize = 8;

/// Above this, an integer may not be an `f32`.
const EXACT: f64 = (1 << 24) as f64;

/// The operations of a vector instruction set that the search needs.
///
/// # Safety
/// All methods require that the processor has the instructions; those that
/// take a pointer, that [`Lanes::COUNT`] values can be read from it.
pub(super) trait Lanes {
    /// Windows in a group: 4 or 8.
    const COUNT: usize;
    type Int: Copy;
    type Float: Copy;
    /// All bits of a lane, or none.
    type Mask: Copy;

    unsafe fn load(from: *const i32) -> Self::Int;
    unsafe fn add(a: Self::Int, b: Self::Int) -> Self::Int;
    unsafe fn sub(a: Self::Int, b: Self::Int) -> Self::Int;
    unsafe fn scale(a: Self::Int, factor: i32) -> Self::Int;
    unsafe fn zero() -> Self::Int;

    unsafe fn load_floats(from: *const f32) -> Self::Float;
    unsafe fn splat(value: f32) -> Self::Float;
    unsafe fn to_float(a: Self::Int) -> Self::Float;
    unsafe fn add_floats(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn mul_floats(a: Self::Float, b: Self::Float) -> Self::Float;

    /// `a < b`; false if either is not a number.
    unsafe fn below(a: Self::Float, b: Self::Float) -> Self::Mask;
    /// `a >= b`; false if either is not a number.
    unsafe fn not_below(a: Self::Float, b: Self::Float) -> Self::Mask;
    /// `value` where the mask is set, else 0.
    unsafe fn keep(mask: Self::Mask, value: Self::Float) -> Self::Float;
    unsafe fn select(mask: Self::Mask, yes: Self::Float, no: Self::Float) -> Self::Float;
    /// Bit `n` for lane `n`.
    unsafe fn bits(mask: Self::Mask) -> u32;

    /// `code`'s bits shifted up by one, with `a >= b` as the new lowest bit.
    unsafe fn push_bit(code: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int;
    /// Whether bit number `code` of 256 is set.
    unsafe fn in_subset(subset: &[u32; 8], code: Self::Int) -> Self::Mask;

    /// [`Contrast::factor`] for a group: writes the factors and returns the
    /// lanes that have one.
    unsafe fn contrast(
        contrast: &Contrast,
        sums: *const i32,
        squares: *const u32,
        factors: *mut f32,
    ) -> u32;
}

/// `+1` at two corners, `-1` at two, `+2` at one, `-2` at one: two halves.
#[derive(Clone, Copy, Debug)]
struct Edge {
    plus: [u32; 2],
    minus: [u32; 2],
    twice: [u32; 2],
}

/// `+1` at two corners, `-1` at two, `+times` at two, `-times` at two: a
/// rectangle within a rectangle.
#[derive(Clone, Copy, Debug)]
struct Line {
    plus: [u32; 2],
    minus: [u32; 2],
    inner_plus: [u32; 2],
    inner_minus: [u32; 2],
    times: i32,
}

/// `+1` at four corners, `-2` at four, `+4` in the middle, or the negative of
/// that: four quarters.
#[derive(Clone, Copy, Debug)]
struct Diagonal {
    outer: [[u32; 2]; 2],
    twice: [[u32; 2]; 2],
    middle: u32,
    sign: i32,
}

/// Anything else: corners and their weights.
#[derive(Clone, Debug)]
struct Mixed(Vec<(u32, i32)>);

/// A local binary pattern: 4x4 corners of blocks.
#[derive(Clone, Copy, Debug)]
struct Blocks([u32; 16]);

/// A shape whose value can be computed for a group of windows.
trait Shape {
    /// # Safety
    /// As for [`Lanes`]; every corner of the shape, seen from `origin`, can be
    /// read.
    unsafe fn value<L: Lanes>(&self, origin: *const i32) -> L::Int;
}

/// Reads one corner of a group's windows.
///
/// # Safety
/// As for [`Shape::value`].
#[inline(always)]
unsafe fn read<L: Lanes>(origin: *const i32, corner: u32) -> L::Int {
    // SAFETY: the caller guarantees this.
    unsafe { L::load(origin.add(corner as usize)) }
}

/// Reads two corners and adds them up.
///
/// # Safety
/// As for [`Shape::value`].
#[inline(always)]
unsafe fn both<L: Lanes>(origin: *const i32, corners: [u32; 2]) -> L::Int {
    // SAFETY: the caller guarantees this.
    unsafe { L::add(read::<L>(origin, corners[0]), read::<L>(origin, corners[1])) }
}

impl Shape for Edge {
    #[inline(always)]
    unsafe fn value<L: Lanes>(&self, origin: *const i32) -> L::Int {
        // SAFETY: the caller guarantees this.
        unsafe {
            let outer = L::sub(both::<L>(origin, self.plus), both::<L>(origin, self.minus));
            let half = L::sub(
                read::<L>(origin, self.twice[0]),
                read::<L>(origin, self.twice[1]),
            );
            L::add(outer, L::add(half, half))
        }
    }
}

impl Shape for Line {
    #[inline(always)]
    unsafe fn value<L: Lanes>(&self, origin: *const i32) -> L::Int {
        // SAFETY: the caller guarantees this.
        unsafe {
            let outer = L::sub(both::<L>(origin, self.plus), both::<L>(origin, self.minus));
            let inner = L::sub(
                both::<L>(origin, self.inner_plus),
                both::<L>(origin, self.inner_minus),
            );
            L::add(outer, L::scale(inner, self.times))
        }
    }
}

impl Shape for Diagonal {
    #[inline(always)]
    unsafe fn value<L: Lanes>(&self, origin: *const i32) -> L::Int {
        // SAFETY: the caller guarantees this.
        unsafe {
            let outer = L::add(
                both::<L>(origin, self.outer[0]),
                both::<L>(origin, self.outer[1]),
            );
            let twice = L::add(
                both::<L>(origin, self.twice[0]),
                both::<L>(origin, self.twice[1]),
            );
            let middle = read::<L>(origin, self.middle);
            let inner = L::sub(L::add(middle, middle), twice);
            L::scale(L::add(outer, L::add(inner, inner)), self.sign)
        }
    }
}

impl Shape for Mixed {
    #[inline(always)]
    unsafe fn value<L: Lanes>(&self, origin: *const i32) -> L::Int {
        // SAFETY: the caller guarantees this.
        unsafe {
            let mut sum = L::zero();
            for &(corner, weight) in &self.0 {
                sum = L::add(sum, L::scale(read::<L>(origin, corner), weight));
            }
            sum
        }
    }
}

impl Shape for Blocks {
    /// The pattern's code.
    #[inline(always)]
    unsafe fn value<L: Lanes>(&self, origin: *const i32) -> L::Int {
        // SAFETY: the caller guarantees this.
        unsafe {
            let middle = self.block::<L>(origin, 5);
            let mut code = L::zero();
            for first in scalar::OUTER_BLOCKS {
                code = L::push_bit(code, self.block::<L>(origin, first), middle);
            }
            code
        }
    }
}

impl Blocks {
    /// The sum over the block whose first corner is number `first`.
    ///
    /// # Safety
    /// As for [`Shape::value`].
    #[inline(always)]
    unsafe fn block<L: Lanes>(&self, origin: *const i32, first: usize) -> L::Int {
        // SAFETY: the caller guarantees this.
        unsafe {
            L::sub(
                both::<L>(origin, [self.0[first], self.0[first + 5]]),
                both::<L>(origin, [self.0[first + 1], self.0[first + 4]]),
            )
        }
    }
}

/// A Haar feature of any shape, for trees, whose features cannot be sorted.
#[derive(Clone, Debug)]
enum AnyShape {
    Edge(Edge),
    Line(Line),
    Diagonal(Diagonal),
    Mixed(Mixed),
}

impl Shape for AnyShape {
    #[inline(always)]
    unsafe fn value<L: Lanes>(&self, origin: *const i32) -> L::Int {
        // SAFETY: the caller guarantees this.
        unsafe {
            match self {
                Self::Edge(shape) => shape.value::<L>(origin),
                Self::Line(shape) => shape.value::<L>(origin),
                Self::Diagonal(shape) => shape.value::<L>(origin),
                Self::Mixed(shape) => shape.value::<L>(origin),
            }
        }
    }
}

impl AnyShape {
    /// The shape of a feature, or `None` if its values may not be exact.
    fn new(feature: &cascade::HaarFeature, layout: Layout) -> Option<Self> {
        let bound: f64 = feature
            .rects
            .iter()
            .map(|r| f64::from(r.weight.abs()) * f64::from(r.width * r.height) * 2.0 * 255.0)
            .sum();
        if bound >= EXACT || feature.rects.iter().any(|r| r.weight.fract() != 0.0) {
            return None;
        }
        let mut terms: Vec<(u32, i32)> = Vec::new();
        for rect in &feature.rects {
            let weight = rect.weight as i32;
            let four = corners(rect, feature.tilted, layout);
            for (corner, weight) in four.into_iter().zip([weight, -weight, -weight, weight]) {
                let corner = u32::try_from(corner).ok()?;
                match terms.iter_mut().find(|term| term.0 == corner) {
                    Some(term) => term.1 += weight,
                    None => terms.push((corner, weight)),
                }
            }
        }
        terms.retain(|term| term.1 != 0);
        // Top to bottom, left to right, as they lie in memory.
        terms.sort_unstable();

        let with = |weight: i32| -> Vec<u32> {
            terms
                .iter()
                .filter(|term| term.1 == weight)
                .map(|term| term.0)
                .collect()
        };
        let two = |weight: i32| <[u32; 2]>::try_from(with(weight)).ok();
        let four = |weight: i32| match with(weight)[..] {
            [a, b, c, d] => Some([[a, b], [c, d]]),
            _ => None,
        };
        let one = |weight: i32| <[u32; 1]>::try_from(with(weight)).ok();

        if let (6, Some(plus), Some(minus), Some([a]), Some([b])) =
            (terms.len(), two(1), two(-1), one(2), one(-2))
        {
            return Some(Self::Edge(Edge {
                plus,
                minus,
                twice: [a, b],
            }));
        }
        let times = terms.iter().map(|term| term.1).max()?;
        if let (8, Some(plus), Some(minus), Some(inner_plus), Some(inner_minus)) =
            (terms.len(), two(1), two(-1), two(times), two(-times))
            && times > 1
        {
            return Some(Self::Line(Line {
                plus,
                minus,
                inner_plus,
                inner_minus,
                times,
            }));
        }
        for sign in [1, -1] {
            if let (9, Some(outer), Some(twice), Some([middle])) =
                (terms.len(), four(sign), four(-2 * sign), one(4 * sign))
            {
                return Some(Self::Diagonal(Diagonal {
                    outer,
                    twice,
                    middle,
                    sign,
                }));
            }
        }
        Some(Self::Mixed(Mixed(terms)))
    }
}

/// A shape with a threshold: adds `gain` if its value is below.
#[derive(Clone, Copy, Debug)]
struct Stump<S> {
    shape: S,
    threshold: f32,
    gain: f32,
}

/// A pattern with its subset: adds `gain` if the code is in it.
#[derive(Clone, Copy, Debug)]
struct PatternStump {
    blocks: Blocks,
    subset: [u32; 8],
    gain: f32,
}

/// A tree of several nodes; children come after their parents.
#[derive(Clone, Debug)]
struct Tree {
    nodes: Vec<TreeNode>,
}

#[derive(Clone, Debug)]
struct TreeNode {
    shape: AnyShape,
    threshold: f32,
    left: Child,
    right: Child,
}

#[derive(Clone, Debug, Default)]
struct Stage {
    /// The sum of the stumps if none is below its threshold.
    start: f32,
    /// A sum below this one fails with any rounding …
    fails_below: f32,
    /// … and one from here on passes.
    passes_from: f32,
    edges: Vec<Stump<Edge>>,
    lines: Vec<Stump<Line>>,
    diagonals: Vec<Stump<Diagonal>>,
    mixed: Vec<Stump<Mixed>>,
    patterns: Vec<PatternStump>,
    trees: Vec<Tree>,
    /// The number of features, as the measure of work.
    features: u64,
}

impl Stage {
    fn new(stage: &cascade::Stage, features: &Features, layout: Layout) -> Option<Self> {
        let mut packed = Self::default();
        let mut start = 0.0_f64;
        // No partial sum is larger than this.
        let mut largest = 0.0_f64;
        for tree in &stage.trees {
            packed.features += tree.nodes.len() as u64;
            if tree.nodes.len() > MAX_NODES {
                return None;
            }
            for node in &tree.nodes {
                for child in [node.left, node.right] {
                    if let Child::Leaf(value) = child {
                        largest += f64::from(value.abs());
                    }
                }
            }
            if let [node] = &tree.nodes[..]
                && let (Child::Leaf(left), Child::Leaf(right)) = (node.left, node.right)
            {
                start += f64::from(right);
                packed.push_stump(node, left - right, features, layout)?;
            } else {
                packed.trees.push(Tree::new(tree, features, layout)?);
            }
        }
        packed.start = start as f32;
        // Each of the additions, the differences `left - right` and the start
        // may be off by half a unit in the last place, 2^-24 of its size.
        // Twice that is allowed for.
        let roundings = stage.trees.len() as f64 + 2.0;
        let doubt = roundings * largest * 2.0_f64.powi(-23);
        let threshold = f64::from(stage.threshold);
        packed.fails_below = ((threshold - doubt) as f32).next_down();
        packed.passes_from = ((threshold + doubt) as f32).next_up();
        Some(packed)
    }

    fn push_stump(
        &mut self,
        node: &cascade::Node,
        gain: f32,
        features: &Features,
        layout: Layout,
    ) -> Option<()> {
        match (features, &node.split) {
            (Features::Haar(list), &Split::Below(threshold)) => {
                macro_rules! push {
                    ($list:ident, $shape:expr) => {
                        self.$list.push(Stump {
                            shape: $shape,
                            threshold,
                            gain,
                        })
                    };
                }
                match AnyShape::new(&list[node.feature], layout)? {
                    AnyShape::Edge(shape) => push!(edges, shape),
                    AnyShape::Line(shape) => push!(lines, shape),
                    AnyShape::Diagonal(shape) => push!(diagonals, shape),
                    AnyShape::Mixed(shape) => push!(mixed, shape),
                }
            }
            (Features::Lbp(list), &Split::In(subset)) => self.patterns.push(PatternStump {
                blocks: Blocks(
                    block_corners(&list[node.feature], layout).map(|corner| corner as u32),
                ),
                subset,
                gain,
            }),
            _ => return None,
        }
        Some(())
    }

    /// The stage's sum for `N` groups.
    ///
    /// # Safety
    /// As for [`Shape::value`], for all shapes of the stage.
    #[inline(always)]
    unsafe fn sum<L: Lanes, const N: usize>(
        &self,
        origins: [*const i32; N],
        factors: [L::Float; N],
    ) -> [L::Float; N] {
        // SAFETY: the caller guarantees this.
        unsafe {
            let mut sums = [L::splat(self.start); N];
            add_stumps::<L, Edge, N>(&self.edges, origins, factors, &mut sums);
            add_stumps::<L, Line, N>(&self.lines, origins, factors, &mut sums);
            add_stumps::<L, Diagonal, N>(&self.diagonals, origins, factors, &mut sums);
            add_stumps::<L, Mixed, N>(&self.mixed, origins, factors, &mut sums);
            for stump in &self.patterns {
                for n in 0..N {
                    let code = stump.blocks.value::<L>(origins[n]);
                    let gain = L::keep(L::in_subset(&stump.subset, code), L::splat(stump.gain));
                    sums[n] = L::add_floats(sums[n], gain);
                }
            }
            for tree in &self.trees {
                for n in 0..N {
                    sums[n] = L::add_floats(sums[n], tree.value::<L>(origins[n], factors[n]));
                }
            }
            sums
        }
    }
}

/// # Safety
/// As for [`Shape::value`], for all the stumps.
#[inline(always)]
unsafe fn add_stumps<L: Lanes, S: Shape, const N: usize>(
    stumps: &[Stump<S>],
    origins: [*const i32; N],
    factors: [L::Float; N],
    sums: &mut [L::Float; N],
) {
    for stump in stumps {
        for n in 0..N {
            // SAFETY: the caller guarantees this.
            unsafe {
                let value = L::to_float(stump.shape.value::<L>(origins[n]));
                let below = L::below(L::mul_floats(value, factors[n]), L::splat(stump.threshold));
                sums[n] = L::add_floats(sums[n], L::keep(below, L::splat(stump.gain)));
            }
        }
    }
}

impl Tree {
    fn new(tree: &cascade::Tree, features: &Features, layout: Layout) -> Option<Self> {
        let Features::Haar(list) = features else {
            return None;
        };
        let nodes = tree
            .nodes
            .iter()
            .map(|node| match node.split {
                Split::Below(threshold) => Some(TreeNode {
                    shape: AnyShape::new(&list[node.feature], layout)?,
                    threshold,
                    left: node.left,
                    right: node.right,
                }),
                Split::In(_) => None,
            })
            .collect::<Option<_>>()?;
        Some(Self { nodes })
    }

    /// The leaf that each window arrives at: all nodes are evaluated, from the
    /// last to the first.
    ///
    /// # Safety
    /// As for [`Shape::value`], for all nodes.
    #[inline(always)]
    unsafe fn value<L: Lanes>(&self, origin: *const i32, factor: L::Float) -> L::Float {
        // SAFETY: the caller guarantees this.
        unsafe {
            let mut values = [L::splat(0.0); MAX_NODES];
            for (index, node) in self.nodes.iter().enumerate().rev() {
                let value = L::to_float(node.shape.value::<L>(origin));
                let below = L::below(L::mul_floats(value, factor), L::splat(node.threshold));
                values[index] = L::select(
                    below,
                    arrive::<L>(node.left, &values),
                    arrive::<L>(node.right, &values),
                );
            }
            values[0]
        }
    }
}

/// The value of a node's child, given the values of later nodes.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
unsafe fn arrive<L: Lanes>(child: Child, values: &[L::Float; MAX_NODES]) -> L::Float {
    match child {
        // SAFETY: the caller guarantees this.
        Child::Leaf(value) => unsafe { L::splat(value) },
        Child::Node(later) => values[later],
    }
}

/// A cascade packed for one layout of the integral image.
#[derive(Clone, Debug)]
pub(super) struct Program {
    stages: Vec<Stage>,
    /// Words from a window's origin to the end of what it reads, in the sums
    /// and in the squares.
    reach: usize,
    contrast_reach: usize,
}

/// The state of the windows of some rows.
#[derive(Debug)]
pub(super) struct Scratch {
    /// One over area times deviation, for each window.
    factors: Vec<f32>,
    /// From a row to the next in `factors`: longer than a group, so that no
    /// group reaches from the end of a row into the next one.
    stride: usize,
    groups: Vec<Group>,
}

/// Neighbouring windows, some of which remain.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// The first window, counted in words from the first one of all rows …
    at: u32,
    /// … and as an index into the factors.
    window: u32,
    /// A bit for each remaining window.
    lanes: u32,
}

impl Scratch {
    pub(super) fn new(columns: usize) -> Self {
        let stride = columns + 16;
        Self {
            factors: vec![0.0; BATCH * stride],
            stride,
            // Each group has at least four windows, except the last of 64.
            groups: Vec::with_capacity(BATCH * (stride.div_ceil(4) + stride.div_ceil(64))),
        }
    }

    /// Row and column of each window that is left, from the top and the left.
    pub(super) fn survivors(&self) -> impl Iterator<Item = (u32, u32)> {
        self.groups.iter().flat_map(|group| {
            (0..8)
                .filter(|lane| group.lanes >> lane & 1 == 1)
                .map(|lane| {
                    let window = group.window + lane;
                    (window / self.stride as u32, window % self.stride as u32)
                })
        })
    }
}

impl Program {
    /// The cascade for both layouts, or `None` if it cannot be packed: then
    /// only [`super::scalar`] gives OpenCV's results.
    pub(super) fn pair(cascade: &Cascade, layouts: [Layout; 2]) -> Option<[Self; 2]> {
        let [a, b] = layouts.map(|layout| Self::new(cascade, layout));
        Some([a?, b?])
    }

    fn new(cascade: &Cascade, layout: Layout) -> Option<Self> {
        let (width, height) = cascade.window;
        let stages = cascade
            .stages
            .iter()
            .map(|stage| Stage::new(stage, &cascade.features, layout))
            .collect::<Option<Vec<_>>>()?;
        // The lowest row's last corner, which is in either half if split.
        let contrast_reach = layout
            .corner(width, height)
            .max(layout.corner(width - 1, height));
        let tilted = needs_tilted(cascade);
        Some(Self {
            stages,
            reach: contrast_reach + if tilted { layout.tilted } else { 0 },
            contrast_reach,
        })
    }

    /// The search through some rows, for one of the instruction sets.
    pub(super) const fn job<'a>(
        &'a self,
        exact: &'a scalar::Program,
        integral: &'a Integral,
        rows: Rows,
    ) -> Job<'a> {
        Job {
            program: self,
            exact,
            integral,
            rows,
        }
    }
}

/// Rows to be searched.
pub(super) struct Job<'a> {
    program: &'a Program,
    exact: &'a scalar::Program,
    integral: &'a Integral,
    rows: Rows,
}

impl Job<'_> {
    /// The search itself: leaves the windows that pass in `scratch` and returns
    /// the work done, in features times groups.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    pub(super) unsafe fn run<L: Lanes>(&self, scratch: &mut Scratch) -> u64 {
        let Rows {
            origin,
            pitch,
            rows,
            columns,
            ..
        } = self.rows;
        assert!(rows > 0 && rows <= BATCH && columns > 0);
        // Everything that is read below: groups start at a window of a row and
        // are at most COUNT windows long.
        let end = origin + (rows - 1) * pitch + columns + L::COUNT;
        assert!(end + self.program.reach <= self.integral.sums().len());
        assert!(end + self.program.contrast_reach <= self.integral.squares().len());
        assert!(columns + L::COUNT <= scratch.stride);
        assert!(rows * scratch.stride <= scratch.factors.len());

        let mut work = 0;
        scratch.groups.clear();
        for row in 0..rows {
            // SAFETY: promised by the caller and checked above.
            work += unsafe { self.first_stage::<L>(row, scratch) };
        }
        for stage in 1..self.program.stages.len() {
            if scratch.groups.is_empty() {
                break;
            }
            // SAFETY: as above.
            work += unsafe { self.stage::<L>(stage, scratch) };
        }
        work
    }

    /// Evaluates contrast and the first stage for all windows of a row that are
    /// not skipped, and makes groups of those that pass.
    ///
    /// # Safety
    /// As for [`Job::run`], after its checks.
    #[inline(always)]
    unsafe fn first_stage<L: Lanes>(&self, row: usize, scratch: &mut Scratch) -> u64 {
        let columns = self.rows.columns;
        let row_at = row * self.rows.pitch;
        let row_window = row * scratch.stride;
        let mut work = 0;
        let mut skip_next = false;
        for start in (0..columns).step_by(64) {
            let in_row = u64::MAX >> (64 - (columns - start).min(64));
            let mut passed = 0_u64;
            let mut failed = 0_u64;
            for offset in (0..64.min(columns - start)).step_by(TOGETHER * L::COUNT) {
                let mut groups = [Group::default(); TOGETHER];
                for (n, group) in groups.iter_mut().enumerate() {
                    let shift = offset + n * L::COUNT;
                    // After the end of the row the last window is repeated; its
                    // repetitions are ignored.
                    let first = (start + shift).min(columns - 1);
                    group.at = (row_at + first) as u32;
                    group.window = (row_window + first) as u32;
                    // SAFETY: every group starts at a window of the row.
                    let textured =
                        unsafe { self.contrast::<L>(*group, scratch.factors.as_mut_ptr()) };
                    let within = in_row.checked_shr(shift as u32).unwrap_or(0);
                    group.lanes = within as u32 & mask_of::<L>() & textured;
                }
                if groups.iter().all(|group| group.lanes == 0) {
                    continue;
                }
                // SAFETY: as above.
                let good =
                    unsafe { self.judge::<L, TOGETHER>(0, &groups, scratch.factors.as_ptr()) };
                work += TOGETHER as u64 * self.program.stages[0].features;
                for n in 0..TOGETHER {
                    let shift = offset + n * L::COUNT;
                    if shift < 64 {
                        passed |= u64::from(good[n]) << shift;
                        failed |= u64::from(groups[n].lanes & !good[n]) << shift;
                    }
                }
            }
            let mut left = passed & !skipped(failed, &mut skip_next);
            while left != 0 {
                let first = left.trailing_zeros() as usize;
                let lanes = (left >> first) as u32 & mask_of::<L>();
                left &= !(u64::from(lanes) << first);
                scratch.groups.push(Group {
                    at: (row_at + start + first) as u32,
                    window: (row_window + start + first) as u32,
                    lanes,
                });
            }
        }
        work
    }

    /// One stage for the windows that are left.
    ///
    /// # Safety
    /// As for [`Job::run`], after its checks.
    #[inline(always)]
    unsafe fn stage<L: Lanes>(&self, stage: usize, scratch: &mut Scratch) -> u64 {
        let factors = scratch.factors.as_ptr();
        let groups = &mut scratch.groups[..];
        let count = groups.len();
        let (mut read, mut kept) = (0, 0);
        while read < count {
            // SAFETY: every group starts at a window of a row.
            unsafe {
                read += match count - read {
                    TOGETHER.. => {
                        self.filter::<L, TOGETHER>(stage, groups, read, &mut kept, factors)
                    }
                    2.. => self.filter::<L, 2>(stage, groups, read, &mut kept, factors),
                    _ => self.filter::<L, 1>(stage, groups, read, &mut kept, factors),
                };
            }
        }
        scratch.groups.truncate(kept);
        count as u64 * self.program.stages[stage].features
    }

    /// Evaluates the `N` groups from number `read` on, and regroups the
    /// remaining windows after the first `kept` groups. Returns `N`.
    ///
    /// # Safety
    /// As for [`Job::run`], after its checks; the groups start at windows.
    #[inline(always)]
    unsafe fn filter<L: Lanes, const N: usize>(
        &self,
        stage: usize,
        groups: &mut [Group],
        read: usize,
        kept: &mut usize,
        factors: *const f32,
    ) -> usize {
        let mut current = [Group::default(); N];
        current.copy_from_slice(&groups[read..read + N]);
        // SAFETY: the caller guarantees this.
        let good = unsafe { self.judge::<L, N>(stage, &current, factors) };
        for n in 0..N {
            let Group { at, window, .. } = current[n];
            let mut lanes = good[n];
            // Windows that fit into the group before go there.
            if lanes != 0 && *kept > 0 {
                let before = &mut groups[*kept - 1];
                let apart = window - before.window;
                if apart < L::COUNT as u32 {
                    let fitting = lanes & mask_of::<L>() >> apart;
                    before.lanes |= fitting << apart;
                    lanes &= !fitting;
                }
            }
            // The rest becomes one group, so there are never more groups than
            // were read.
            if lanes != 0 {
                let first = lanes.trailing_zeros();
                groups[*kept] = Group {
                    at: at + first,
                    window: window + first,
                    lanes: lanes >> first,
                };
                *kept += 1;
            }
        }
        N
    }

    /// Writes the factors of a group's windows; returns those with enough
    /// contrast.
    ///
    /// # Safety
    /// As for [`Job::run`], after its checks; the group starts at a window.
    #[inline(always)]
    unsafe fn contrast<L: Lanes>(&self, group: Group, factors: *mut f32) -> u32 {
        let at = self.rows.origin + group.at as usize;
        match self.exact.contrast() {
            None => mask_of::<L>(),
            // SAFETY: the caller guarantees this.
            Some(contrast) => unsafe {
                L::contrast(
                    contrast,
                    self.integral.sums().as_ptr().add(at),
                    self.integral.squares().as_ptr().add(at),
                    factors.add(group.window as usize),
                )
            },
        }
    }

    /// Which of the windows that are left in some groups pass a stage.
    ///
    /// # Safety
    /// As for [`Job::run`], after its checks; the groups start at windows.
    #[inline(always)]
    unsafe fn judge<L: Lanes, const N: usize>(
        &self,
        stage: usize,
        groups: &[Group; N],
        factors: *const f32,
    ) -> [u32; N] {
        let packed = &self.program.stages[stage];
        // SAFETY: the caller guarantees this.
        unsafe {
            let sums = self.integral.sums().as_ptr().add(self.rows.origin);
            let mut origins = [sums; N];
            let mut contrasts = [L::splat(0.0); N];
            for n in 0..N {
                origins[n] = sums.add(groups[n].at as usize);
                contrasts[n] = L::load_floats(factors.add(groups[n].window as usize));
            }
            let totals = packed.sum::<L, N>(origins, contrasts);
            let fails_below = L::splat(packed.fails_below);
            let passes_from = L::splat(packed.passes_from);
            let mut passed = [0; N];
            for n in 0..N {
                // A total that is NaN fails neither test.
                passed[n] = groups[n].lanes & !L::bits(L::below(totals[n], fails_below));
                let mut doubtful = passed[n] & !L::bits(L::not_below(totals[n], passes_from));
                while doubtful != 0 {
                    let lane = doubtful.trailing_zeros();
                    doubtful &= doubtful - 1;
                    if !self.settle(stage, groups[n], lane, factors) {
                        passed[n] &= !(1 << lane);
                    }
                }
            }
            passed
        }
    }

    /// The answer of `scalar` for one window and stage.
    #[cold]
    fn settle(&self, stage: usize, group: Group, lane: u32, factors: *const f32) -> bool {
        // SAFETY: the lane is a window of a row, all of which have a factor.
        let factor = unsafe { *factors.add((group.window + lane) as usize) };
        let origin = self.rows.origin + (group.at + lane) as usize;
        self.exact
            .passes_stage(stage, self.integral.sums(), origin, factor)
    }
}

/// The sum over a rectangle given by its corners.
///
/// # Safety
/// As for [`Shape::value`].
#[inline(always)]
pub(super) unsafe fn rectangle<L: Lanes>(table: *const i32, corners: [usize; 4]) -> L::Int {
    // SAFETY: the caller guarantees this.
    unsafe {
        L::sub(
            L::add(
                L::load(table.add(corners[0])),
                L::load(table.add(corners[3])),
            ),
            L::add(
                L::load(table.add(corners[1])),
                L::load(table.add(corners[2])),
            ),
        )
    }
}

/// The bits of all lanes.
#[inline(always)]
const fn mask_of<L: Lanes>() -> u32 {
    (1 << L::COUNT) - 1
}
