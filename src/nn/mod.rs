//! The int8 engine: reads an ONNX file, fuses its quantized layers and runs
//! them with integer kernels.

mod external;
mod forms;
mod fuse;
mod import;
pub mod kernels;
mod model;
mod onnx;
mod op;
mod program;
mod refusal;

pub use model::{InputShape, Layout, LoadError, Model, Output, Outputs, StepProfile, Workspace};
