//! The part of the ONNX file format that is read here: protocol buffers
//! messages with the names and numbers of `onnx.proto3`.

use prost::Message;
use tract_core::internal::*;

use super::refusal::{OrRefuse, Result, refuse, require};

/// A file.
#[derive(Clone, PartialEq, Message)]
pub struct ModelProto {
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
}

#[derive(Clone, PartialEq, Message)]
pub struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(int64, tag = "2")]
    pub version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    pub domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct AttributeProto {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(float, tag = "2")]
    pub f: f32,
    #[prost(int64, tag = "3")]
    pub i: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub s: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    pub t: Option<TensorProto>,
    #[prost(float, repeated, tag = "7")]
    pub floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    pub ints: Vec<i64>,
    /// The kind of value: not read, because each operator knows its attributes.
    #[prost(int32, tag = "20")]
    pub r#type: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    /// Where the numbers are in another file: `location`, `offset`, `length`.
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<StringStringEntryProto>,
    /// 1 if the numbers are in another file.
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ValueInfoProto {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<DimensionProto>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DimensionProto {
    #[prost(int64, optional, tag = "1")]
    pub dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub dim_param: Option<String>,
}

/// ONNX's names of element types, by their codes.
const ELEMENTS: [&str; 17] = [
    "undefined",
    "float",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "int64",
    "string",
    "bool",
    "float16",
    "double",
    "uint32",
    "uint64",
    "complex64",
    "complex128",
    "bfloat16",
];

/// The code of f32.
pub const FLOAT: i32 = 1;

pub const FLOAT16: i32 = 10;

pub const BFLOAT16: i32 = 16;

/// ONNX's name of an element type.
pub fn element_name(code: i32) -> String {
    let name = usize::try_from(code).ok().and_then(|i| ELEMENTS.get(i));
    name.map_or_else(|| format!("element type {code}"), ToString::to_string)
}

/// tract's element type for ONNX's.
pub fn datum_type(code: i32) -> Result<DatumType> {
    Ok(match code {
        1 => DatumType::F32,
        2 => DatumType::U8,
        3 => DatumType::I8,
        6 => DatumType::I32,
        7 => DatumType::I64,
        9 => DatumType::Bool,
        10 => DatumType::F16,
        11 => DatumType::F64,
        _ => refuse!(
            "tensors of {} are not supported; convert the model to float",
            element_name(code)
        ),
    })
}

impl TensorProto {
    /// The tensor with its numbers.
    pub fn tensor(&self) -> Result<Tensor> {
        require!(
            !self.is_external(),
            "the weights of {} are in another file; save the model as one file",
            self.name
        );
        let sides = self.dims.iter().map(|&d| usize::try_from(d).ok());
        let shape: Vec<_> = sides.collect::<Option<_>>().or_refuse(|| {
            format!(
                "{}: the shape {:?} has a negative side",
                self.name, self.dims
            )
        })?;
        let wide = &self.int32_data;
        let element = datum_type(self.data_type)?;
        let tensor = match element {
            DatumType::F32 => self.plain(&self.float_data, |b| f32::from_le_bytes(*b)),
            DatumType::F64 => self.plain(&self.double_data, |b| f64::from_le_bytes(*b)),
            DatumType::I64 => self.plain(&self.int64_data, |b| i64::from_le_bytes(*b)),
            DatumType::I32 => self.plain(wide, |b| i32::from_le_bytes(*b)),
            DatumType::U8 => self.plain(&narrow(wide, |&w| w as u8), |[b]| *b),
            DatumType::I8 => self.plain(&narrow(wide, |&w| w as i8), |[b]| *b as i8),
            DatumType::Bool => self.plain(&narrow(wide, |&w| w != 0), |[b]| *b != 0),
            DatumType::F16 => self.plain(&narrow(wide, |&w| f16::from_bits(w as u16)), |b| {
                f16::from_le_bytes(*b)
            }),
            _ => unreachable!("datum_type gives no other"),
        };
        let count = tensor.len();
        // tract multiplies without a check for overflow.
        let product = shape.iter().try_fold(1_usize, |p, &s| p.checked_mul(s));
        require!(
            product == Some(count),
            "{}: {count} numbers do not fit the shape {shape:?}",
            self.name
        );
        Ok(tensor.into_shape(&shape)?)
    }

    /// Whether the numbers are in another file.
    pub fn is_external(&self) -> bool {
        self.data_location != 0
    }

    /// A value that says where in another file the numbers are.
    pub fn external(&self, key: &str) -> Option<&str> {
        let entry = self.external_data.iter().find(|entry| entry.key == key);
        entry.map(|entry| entry.value.as_str())
    }

    /// Stores the bytes of the numbers that were in another file.
    pub fn hold(&mut self, bytes: Vec<u8>) {
        self.raw_data = bytes;
        self.external_data.clear();
        self.data_location = 0;
    }

    /// The listed numbers, or else those in `raw_data`.
    fn plain<T: Datum + Copy, const SIZE: usize>(
        &self,
        listed: &[T],
        number: impl Fn(&[u8; SIZE]) -> T,
    ) -> Tensor {
        if self.raw_data.is_empty() {
            return tensor1(listed);
        }
        let (chunks, _) = self.raw_data.as_chunks();
        let numbers: Vec<T> = chunks.iter().map(number).collect();
        tensor1(&numbers)
    }
}

fn narrow<T>(wide: &[i32], number: impl Fn(&i32) -> T) -> Vec<T> {
    wide.iter().map(number).collect()
}

impl ModelProto {
    /// The version of ONNX's own operators that the model was written for.
    pub fn opset(&self) -> i64 {
        let own = |set: &&OperatorSetIdProto| matches!(set.domain.as_str(), "" | "ai.onnx");
        self.opset_import
            .iter()
            .find(own)
            .map_or(0, |set| set.version)
    }
}

impl NodeProto {
    /// Its name, or its first output's if it has none.
    pub fn title(&self) -> &str {
        if self.name.is_empty() {
            self.output.first().map_or("", String::as_str)
        } else {
            &self.name
        }
    }

    /// The attribute of that name, if the node has it.
    pub fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|a| a.name == name)
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |a| a.i)
    }

    pub fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |a| a.f)
    }

    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|a| a.ints.as_slice())
    }

    pub fn sizes(&self, name: &str) -> Result<Option<TVec<usize>>> {
        let Some(ints) = self.ints(name) else {
            return Ok(None);
        };
        let sizes = ints.iter().map(|&i| usize::try_from(i).ok());
        let sizes: Option<_> = sizes.collect();
        sizes.map(Some).or_refuse(|| {
            format!(
                "{}: {name} {ints:?} contains a negative number",
                self.title()
            )
        })
    }
}
