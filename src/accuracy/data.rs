//! Pictures with known expressions: folders of pictures, Kaggle's
//! `fer2013.csv`, and a mosaic of tiles with a table of labels and votes.
//!
//! No picture is left out silently: the caller asks for it ([`Selection`]), and
//! [`DataSet::left_out`] counts it. Anything else, such as an unknown label, is
//! an error.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::frame::LumaView;
use crate::image::turn::Turn;
use crate::image::{LumaImage, MediaError, Reader};
use crate::observe::expression::Expression;

/// FER2013's side in pixels.
const TILE: usize = 48;
const TILE_PIXELS: usize = TILE * TILE;
const TILES_A_ROW: usize = 48;

/// The files of the mosaic form.
const MOSAIC: &str = "images.png";
const TABLE: &str = "labels.csv";

/// The largest label table or `fer2013.csv` that is read. The original has
/// 301 MB.
const MAX_TABLE: u64 = 2 << 30;

/// Which labels of the mosaic form are the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Labels {
    /// FER2013's own.
    #[default]
    Fer2013,
    /// The majority of FER+'s ten taggers: the winner among the seven
    /// expressions, contempt left out, where it has more than half of all
    /// votes. Images without such a winner are left out.
    Ferplus,
}

impl Labels {
    /// The name used on the command line and in figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fer2013 => "fer2013",
            Self::Ferplus => "ferplus",
        }
    }
}

/// Which part of a data set is evaluated, and how it is read.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only this part: `Training`, `PublicTest` or `PrivateTest`.
    pub usage: Option<String>,
    pub labels: Labels,
    /// Leaves out what the table marks as a copy or near copy of a training
    /// image, or as known only from a lossy JPEG.
    pub without_copies: bool,
    /// Classes of folders by their names, tried before the usual names; `None`
    /// skips the folder.
    pub folders: Vec<(String, Option<Expression>)>,
    /// How each picture is turned before it is evaluated.
    pub turn: Turn,
}

/// A data set that cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{}: cannot be read: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{}: neither a directory nor a .csv file; give a folder of class folders, fer2013.csv, or a directory with {MOSAIC} and {TABLE}",
        .path.display()
    )]
    Kind { path: PathBuf },
    #[error(
        "{}: the folder '{name}' is not a class{hint}; give it one of the names angry, disgust, fear, happy, sad, surprise, neutral (or 0 to 6 in that order), or give its class with --folder {name}=CLASS, or --folder {name}=skip",
        .path.display()
    )]
    Folder {
        path: PathBuf,
        name: String,
        hint: &'static str,
    },
    #[error("{}: {what} works only with {wanted}", .path.display())]
    Option {
        path: PathBuf,
        what: &'static str,
        wanted: &'static str,
    },
    #[error("{}: no picture to evaluate ({left_out} left out)", .path.display())]
    Empty { path: PathBuf, left_out: usize },
    #[error("{}: has no rows of usage '{usage}'; there are {found}", .path.display())]
    Usage {
        path: PathBuf,
        usage: String,
        found: String,
    },
    #[error("{}: no column '{column}' in the first line", .path.display())]
    Column { path: PathBuf, column: &'static str },
    #[error("{}, line {line}: {reason}", .path.display())]
    Row {
        path: PathBuf,
        line: u64,
        reason: String,
    },
    #[error("{}: {reason}", .path.display())]
    Mosaic { path: PathBuf, reason: String },
}

/// A picture whose expression is known.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The file, or the number of the row (from 0).
    pub name: &'a str,
    pub truth: Expression,
    pub picture: LumaView<'a>,
}

/// What is evaluated: pictures, one by one.
#[derive(Debug)]
pub struct DataSet {
    entries: Vec<Entry>,
    pictures: Pictures,
    left_out: usize,
    turn: Turn,
    reader: Reader,
    image: LumaImage,
}

/// Where the pictures of the entries are.
#[derive(Debug)]
enum Pictures {
    Files(Vec<PathBuf>),
    /// One tile after the other.
    Tiles(Vec<u8>),
}

#[derive(Debug)]
struct Entry {
    name: String,
    truth: Expression,
}

impl DataSet {
    /// Opens a data set and reads the list of its pictures with their labels.
    ///
    /// # Errors
    /// [`DataError`], which names the file and the line, column or folder.
    pub fn open(path: &Path, selection: &Selection) -> Result<Self, DataError> {
        let mut set = if path.is_dir() {
            if path.join(MOSAIC).is_file() && path.join(TABLE).is_file() {
                Self::mosaic(path, selection)?
            } else {
                Self::folders(path, selection)?
            }
        } else if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("csv"))
        {
            Self::fer2013_csv(path, selection)?
        } else if let Err(source) = fs::metadata(path) {
            let path = path.to_owned();
            return Err(DataError::Read { path, source });
        } else {
            let path = path.to_owned();
            return Err(DataError::Kind { path });
        };
        set.turn = selection.turn;
        set.reader = Reader::turning(selection.turn);
        if set.is_empty() {
            return Err(DataError::Empty {
                path: path.to_owned(),
                left_out: set.left_out,
            });
        }
        Ok(set)
    }

    /// How many pictures are evaluated.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Pictures of the selected part that are left out: copies, images without
    /// a majority, folders to skip.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The truth of picture `index`.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    #[must_use]
    pub fn truth(&self, index: usize) -> Expression {
        self.entries[index].truth
    }

    /// The file of picture `index`, or the number of its row (from 0).
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    #[must_use]
    pub fn name(&self, index: usize) -> &str {
        &self.entries[index].name
    }

    /// Reads picture `index`.
    ///
    /// # Errors
    /// The file cannot be read or is not a picture.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn read(&mut self, index: usize) -> Result<Sample<'_>, MediaError> {
        let entry = &self.entries[index];
        let picture = match &self.pictures {
            Pictures::Files(files) => {
                self.reader.luma(&files[index], &mut self.image)?;
                self.image.view()
            }
            Pictures::Tiles(tiles) => {
                let tile = &tiles[index * TILE_PIXELS..][..TILE_PIXELS];
                let tile = LumaView::new(tile, TILE as u32, TILE as u32, TILE)
                    .expect("a tile is a picture");
                self.turn.apply(tile, &mut self.image);
                self.image.view()
            }
        };
        Ok(Sample {
            name: &entry.name,
            truth: entry.truth,
            picture,
        })
    }

    fn with(entries: Vec<Entry>, pictures: Pictures, left_out: usize) -> Self {
        Self {
            entries,
            pictures,
            left_out,
            turn: Turn::default(),
            reader: Reader::default(),
            image: LumaImage::default(),
        }
    }

    /// The ImageFolder convention: one folder per class.
    fn folders(path: &Path, selection: &Selection) -> Result<Self, DataError> {
        if selection.usage.is_some() {
            return Err(no_option(
                path,
                "--usage",
                "fer2013.csv and the mosaic; give the part's own folder",
            ));
        }
        no_mosaic_options(path, selection)?;
        let (mut entries, mut paths, mut left_out) = (Vec::new(), Vec::new(), 0);
        for folder in sorted(path)?.into_iter().filter(|entry| entry.is_dir()) {
            let name = file_name(&folder);
            let mut files = Vec::new();
            pictures_below(&folder, &mut files)?;
            let Some(truth) = class_of(&folder, &name, selection)? else {
                left_out += files.len();
                continue;
            };
            entries.extend(files.iter().map(|file| Entry {
                name: file.to_string_lossy().into_owned(),
                truth,
            }));
            paths.append(&mut files);
        }
        Ok(Self::with(entries, Pictures::Files(paths), left_out))
    }

    /// Kaggle's file: `emotion`, `pixels` (2,304 numbers) and `Usage`, in any
    /// order of columns.
    fn fer2013_csv(path: &Path, selection: &Selection) -> Result<Self, DataError> {
        no_mosaic_options(path, selection)?;
        let mut table = Table::open(path)?;
        let emotion = table.column("emotion")?;
        let pixels = table.column("pixels")?;
        let usage = match &selection.usage {
            Some(_) => Some(table.column("Usage")?),
            None => None,
        };
        let (mut entries, mut tiles) = (Vec::new(), Vec::new());
        let mut usages = Usages::default();
        let mut row = 0;
        while table.next()? {
            let number = row;
            row += 1;
            if !usages.is_wanted(selection, usage.map(|column| table.field(column))) {
                continue;
            }
            let truth = table.label(emotion)?;
            let before = tiles.len();
            for value in table.field(pixels).split_ascii_whitespace() {
                let value = value.parse::<u8>().map_err(|_| {
                    table.error(format!("'{value}' is not a pixel value from 0 to 255"))
                })?;
                tiles.push(value);
            }
            let count = tiles.len() - before;
            if count != TILE_PIXELS {
                return Err(table.error(format!(
                    "{count} pixels instead of {TILE_PIXELS} ({TILE}x{TILE})"
                )));
            }
            entries.push(Entry {
                name: number.to_string(),
                truth,
            });
        }
        usages.check(path, selection)?;
        Ok(Self::with(entries, Pictures::Tiles(tiles), 0))
    }

    /// A gray PNG with 48 tiles per row, and a table with one row per tile.
    fn mosaic(path: &Path, selection: &Selection) -> Result<Self, DataError> {
        let mut table = Table::open(&path.join(TABLE))?;
        let index = table.column("index")?;
        let usage = table.column("usage")?;
        let truth = match selection.labels {
            Labels::Fer2013 => Truth::Label(table.column("fer2013_label")?),
            Labels::Ferplus => Truth::Votes(Votes::columns(&table)?),
        };
        let copies = if selection.without_copies {
            vec![
                table.column("dup_in_train")?,
                table.column("near_dup_in_train")?,
                table.column("lossy")?,
            ]
        } else {
            Vec::new()
        };

        let mut wanted = Vec::new();
        let mut left_out = 0;
        let mut usages = Usages::default();
        while table.next()? {
            if !usages.is_wanted(selection, Some(table.field(usage))) {
                continue;
            }
            if copies.iter().any(|column| table.field(*column) != "0") {
                left_out += 1;
                continue;
            }
            let truth = match &truth {
                Truth::Label(column) => Some(table.label(*column)?),
                Truth::Votes(votes) => votes.majority(&table)?,
            };
            let Some(truth) = truth else {
                left_out += 1;
                continue;
            };
            let number = table.number(index)? as usize;
            wanted.push((number, truth));
        }
        usages.check(&table.path, selection)?;

        wanted.sort_by_key(|(number, _)| *number);
        let numbers: Vec<_> = wanted.iter().map(|(number, _)| *number).collect();
        let tiles = read_tiles(&path.join(MOSAIC), &numbers)?;
        let entries = wanted
            .into_iter()
            .map(|(number, truth)| Entry {
                name: number.to_string(),
                truth,
            })
            .collect();
        Ok(Self::with(entries, Pictures::Tiles(tiles), left_out))
    }
}

fn no_option(path: &Path, what: &'static str, wanted: &'static str) -> DataError {
    DataError::Option {
        path: path.to_owned(),
        what,
        wanted,
    }
}

fn no_mosaic_options(path: &Path, selection: &Selection) -> Result<(), DataError> {
    let mosaic = "a directory with images.png and labels.csv";
    if selection.labels != Labels::Fer2013 {
        return Err(no_option(path, "--labels ferplus", mosaic));
    }
    if selection.without_copies {
        return Err(no_option(path, "--without-copies", mosaic));
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The entries of a directory, sorted by name, without hidden files.
fn sorted(directory: &Path) -> Result<Vec<PathBuf>, DataError> {
    let read = || -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if !file_name(&path).starts_with('.') {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    };
    read().map_err(|source| DataError::Read {
        path: directory.to_owned(),
        source,
    })
}

/// Files with the name of a picture, also in formats that cannot be read: those
/// must be reported, not overlooked.
fn pictures_below(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
    const EXTENSIONS: [&str; 11] = [
        "png", "jpg", "jpeg", "jpe", "bmp", "gif", "tif", "tiff", "webp", "pgm", "ppm",
    ];
    for path in sorted(directory)? {
        if path.is_dir() {
            // A link to a directory above would never end.
            if !path.is_symlink() {
                pictures_below(&path, files)?;
            }
        } else if path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| EXTENSIONS.contains(&&*extension.to_ascii_lowercase()))
        {
            files.push(path);
        }
    }
    Ok(())
}

/// What a class folder's name means; `None` to skip it.
fn class_of(
    folder: &Path,
    name: &str,
    selection: &Selection,
) -> Result<Option<Expression>, DataError> {
    if let Some((_, class)) = selection
        .folders
        .iter()
        .find(|(folder, _)| folder.eq_ignore_ascii_case(name))
    {
        return Ok(*class);
    }
    if let Some(class) = by_alias(name) {
        return Ok(Some(class));
    }
    let holds_classes = sorted(folder)?
        .iter()
        .any(|path| path.is_dir() && by_alias(&file_name(path)).is_some());
    Err(DataError::Folder {
        path: folder.parent().unwrap_or(folder).to_owned(),
        name: name.to_owned(),
        hint: if holds_classes {
            " but holds class folders, so give the path of that folder"
        } else if name == "7" {
            " (RAF-DB counts from 1 in another order: --folder 1=surprise --folder 2=fear --folder 3=disgust --folder 4=happy --folder 5=sad --folder 6=angry --folder 7=neutral)"
        } else {
            ""
        },
    })
}

/// A class by the names and numbers that data sets use for it.
fn by_alias(name: &str) -> Option<Expression> {
    use Expression::{Angry, Disgust, Fear, Happy, Neutral, Sad, Surprise};
    Some(match name.to_ascii_lowercase().as_str() {
        "angry" | "anger" | "an" | "0" => Angry,
        "disgust" | "disgusted" | "di" | "1" => Disgust,
        "fear" | "fearful" | "afraid" | "scared" | "fe" | "af" | "2" => Fear,
        "happy" | "happiness" | "ha" | "joy" | "3" => Happy,
        "sad" | "sadness" | "sa" | "4" => Sad,
        "surprise" | "surprised" | "su" | "5" => Surprise,
        "neutral" | "neutrality" | "ne" | "6" => Neutral,
        _ => return None,
    })
}

/// Which usages a table has, and whether the one asked for is among them.
#[derive(Default)]
struct Usages {
    seen: Vec<String>,
    wanted: bool,
}

impl Usages {
    fn is_wanted(&mut self, selection: &Selection, usage: Option<&str>) -> bool {
        let (Some(wanted), Some(usage)) = (&selection.usage, usage) else {
            return true;
        };
        // Some are enough for the message.
        if self.seen.len() < 8 && !self.seen.iter().any(|seen| seen == usage) {
            self.seen.push(usage.to_owned());
        }
        let is_wanted = usage.eq_ignore_ascii_case(wanted);
        self.wanted |= is_wanted;
        is_wanted
    }

    fn check(self, path: &Path, selection: &Selection) -> Result<(), DataError> {
        match &selection.usage {
            Some(usage) if !self.wanted => Err(DataError::Usage {
                path: path.to_owned(),
                usage: usage.clone(),
                found: if self.seen.is_empty() {
                    "no rows at all".to_owned()
                } else {
                    self.seen.join(", ")
                },
            }),
            _ => Ok(()),
        }
    }
}

/// A CSV file with a header, read row by row.
struct Table {
    path: PathBuf,
    reader: csv::Reader<io::Take<File>>,
    header: csv::StringRecord,
    record: csv::StringRecord,
}

impl Table {
    fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|source| DataError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(file.take(MAX_TABLE));
        let header = match reader.headers() {
            Ok(header) => header.clone(),
            Err(error) => return Err(csv_error(path, &error)),
        };
        Ok(Self {
            path: path.to_owned(),
            reader,
            header,
            record: csv::StringRecord::new(),
        })
    }

    fn column(&self, column: &'static str) -> Result<usize, DataError> {
        self.header
            .iter()
            .position(|name| name.eq_ignore_ascii_case(column))
            .ok_or_else(|| DataError::Column {
                path: self.path.clone(),
                column,
            })
    }

    /// Reads the next row; `false` at the end.
    fn next(&mut self) -> Result<bool, DataError> {
        self.reader
            .read_record(&mut self.record)
            .map_err(|error| csv_error(&self.path, &error))
    }

    /// A field of the row; the reader guarantees that each row is complete.
    fn field(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or_default()
    }

    fn number(&self, column: usize) -> Result<u32, DataError> {
        let field = self.field(column);
        field.parse().map_err(|_| {
            let name = self.header.get(column).unwrap_or_default();
            self.error(format!("{name} is '{field}', which is not a number"))
        })
    }

    fn label(&self, column: usize) -> Result<Expression, DataError> {
        let number = self.number(column)?;
        Expression::from_index(number as usize)
            .ok_or_else(|| self.error(format!("the label {number} is not from 0 to 6")))
    }

    fn error(&self, reason: String) -> DataError {
        DataError::Row {
            path: self.path.clone(),
            line: self.record.position().map_or(0, csv::Position::line),
            reason,
        }
    }
}

fn csv_error(path: &Path, error: &csv::Error) -> DataError {
    DataError::Row {
        path: path.to_owned(),
        line: error.position().map_or(1, csv::Position::line),
        reason: match error.kind() {
            csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => format!("{len} fields where the first line has {expected_len}"),
            csv::ErrorKind::Utf8 { .. } => "not text".to_owned(),
            _ => error.to_string(),
        },
    }
}

/// The columns with a row's label.
enum Truth {
    Label(usize),
    Votes(Votes),
}

/// The columns of FER+'s votes.
struct Votes {
    expressions: [(Expression, usize); Expression::COUNT],
    others: [usize; 3],
}

impl Votes {
    fn columns(table: &Table) -> Result<Self, DataError> {
        let column = |name| table.column(name);
        use Expression::{Angry, Disgust, Fear, Happy, Neutral, Sad, Surprise};
        Ok(Self {
            expressions: [
                (Angry, column("anger")?),
                (Disgust, column("disgust")?),
                (Fear, column("fear")?),
                (Happy, column("happiness")?),
                (Sad, column("sadness")?),
                (Surprise, column("surprise")?),
                (Neutral, column("neutral")?),
            ],
            others: [column("contempt")?, column("unknown")?, column("not_face")?],
        })
    }

    /// The expression with more than half of all votes, if there is one.
    fn majority(&self, table: &Table) -> Result<Option<Expression>, DataError> {
        let mut all = 0_u64;
        let mut winner = None;
        let mut most = 0_u64;
        for (expression, column) in self.expressions {
            let votes = u64::from(table.number(column)?);
            all += votes;
            if votes > most {
                (winner, most) = (Some(expression), votes);
            }
        }
        for column in self.others {
            all += u64::from(table.number(column)?);
        }
        Ok(winner.filter(|_| 2 * most > all))
    }
}

/// Reads tiles by their numbers, which must rise. The mosaic is taller than
/// [`MAX_SIDE`](crate::frame::MAX_SIDE) and decoded row by row.
fn read_tiles(path: &Path, numbers: &[usize]) -> Result<Vec<u8>, DataError> {
    let error = |reason: String| DataError::Mosaic {
        path: path.to_owned(),
        reason,
    };
    let file = File::open(path).map_err(|source| DataError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut reader = png::Decoder::new(BufReader::new(file))
        .read_info()
        .map_err(|e| error(format!("not a PNG picture: {e}")))?;
    let info = reader.info();
    let width = TILES_A_ROW * TILE;
    if info.width as usize != width
        || info.color_type != png::ColorType::Grayscale
        || info.bit_depth != png::BitDepth::Eight
        || info.interlaced
    {
        return Err(error(format!(
            "a mosaic is {width} pixels wide, 8-bit gray and not interlaced, but this picture is {} wide, {:?}, {:?} bits, {}",
            info.width,
            info.color_type,
            info.bit_depth,
            if info.interlaced {
                "interlaced"
            } else {
                "not interlaced"
            },
        )));
    }
    let count = info.height as usize / TILE * TILES_A_ROW;
    if let Some(beyond) = numbers.iter().find(|number| **number >= count) {
        return Err(error(format!(
            "{TABLE} has an image {beyond}, but the mosaic has only {count}"
        )));
    }

    let mut tiles = vec![0; numbers.len() * TILE_PIXELS];
    let mut tile = 0;
    let mut y = 0;
    while tile < numbers.len() {
        let row = reader
            .next_row()
            .map_err(|e| error(format!("damaged at row {y}: {e}")))?
            .ok_or_else(|| error(format!("ends at row {y}")))?;
        let row = row.data();
        // Every tile that contains a part of this row of pixels.
        let passing = numbers[tile..]
            .iter()
            .take_while(|number| **number / TILES_A_ROW == y / TILE)
            .count();
        for (i, number) in numbers[tile..tile + passing].iter().enumerate() {
            let from = number % TILES_A_ROW * TILE;
            let to = (tile + i) * TILE_PIXELS + y % TILE * TILE;
            tiles[to..to + TILE].copy_from_slice(&row[from..from + TILE]);
        }
        y += 1;
        if y % TILE == 0 {
            tile += passing;
        }
    }
    Ok(tiles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_folders_have_many_names() {
        for expression in Expression::ALL {
            assert_eq!(by_alias(expression.name()), Some(expression));
            assert_eq!(
                by_alias(&expression.name().to_uppercase()),
                Some(expression)
            );
            assert_eq!(by_alias(&expression.index().to_string()), Some(expression));
        }
        assert_eq!(by_alias("Happiness"), Some(Expression::Happy));
        assert_eq!(by_alias("7"), None);
        assert_eq!(by_alias("contempt"), None);
    }
}
