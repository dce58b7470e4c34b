//! The int8 engine: reads an ONNX file, fuses its quantized layers and runs
//! them with integer kernels.

mod fuse;
mod import;
pub mod kernels;
pub(crate) mod network;
mod onnx;
mod op;
mod program;
