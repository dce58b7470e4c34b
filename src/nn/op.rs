//! A [`Program`] as an op of tract, for graphs that tract runs in part.

use std::sync::Arc;
use std::time::Duration;

use tract_core::internal::*;

use super::program::{Memory, Program};

/// The integer part of a network: one f32 picture in, f32 tensors out.
#[derive(Clone, Debug)]
pub struct IntegerNetwork {
    program: Arc<Program>,
    shapes: Vec<Vec<usize>>,
}

impl PartialEq for IntegerNetwork {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.program, &other.program)
    }
}

impl Eq for IntegerNetwork {}

impl IntegerNetwork {
    /// The name of the op and of its node.
    pub const NAME: &'static str = "AffectdIntegerNetwork";

    /// `shapes` are those of the program's outputs.
    pub fn new(program: Program, shapes: Vec<Vec<usize>>) -> Self {
        Self {
            program: Arc::new(program),
            shapes,
        }
    }

    /// The program that it runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Runs the program of an instance and adds the time of each step.
    pub fn run_timed<'a>(
        state: &mut State,
        inputs: &[TValue],
        times: impl Iterator<Item = &'a mut Duration>,
    ) -> TractResult<()> {
        let input = inputs[0].try_as_plain_ram()?;
        let inputs = [input.as_slice::<f32>()?];
        state.program.run_timed(&mut state.memory, &inputs, times);
        Ok(())
    }
}

impl Op for IntegerNetwork {
    fn name(&self) -> StaticName {
        Self::NAME.into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!(
            "{} steps, {} kernels",
            self.program.steps().len(),
            self.program.isa()
        )])
    }

    op_as_typed_op!();
}

impl EvalOp for IntegerNetwork {
    not_out_of_plan!();

    fn state(&self, _ctx: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(State {
            memory: self.program.memory(),
            program: Arc::clone(&self.program),
        })))
    }
}

impl TypedOp for IntegerNetwork {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.shapes.iter().map(f32::fact).collect())
    }

    as_op!();
}

/// The memory of one running instance.
#[derive(Debug)]
pub struct State {
    memory: Memory,
    program: Arc<Program>,
}

impl Clone for State {
    fn clone(&self) -> Self {
        // Nothing in it is kept after a run.
        Self {
            memory: self.program.memory(),
            program: Arc::clone(&self.program),
        }
    }
}

impl OpState for State {
    fn eval(
        &mut self,
        _ctx: &EvalContext,
        op: &dyn Op,
        inputs: TVec<TValue>,
    ) -> TractResult<TVec<TValue>> {
        let op = op
            .downcast_ref::<IntegerNetwork>()
            .context("the state of another op")?;
        let input = inputs[0].try_as_plain_ram()?;
        let mut outputs = Vec::with_capacity(op.shapes.len());
        for shape in &op.shapes {
            outputs.push(Tensor::zero::<f32>(shape)?);
        }
        let mut writable = Vec::with_capacity(outputs.len());
        for output in &mut outputs {
            writable.push(output.try_as_plain_ram_mut()?);
        }
        let mut views: Vec<&mut [f32]> = Vec::with_capacity(writable.len());
        for output in &mut writable {
            views.push(output.as_slice_mut::<f32>()?);
        }
        self.program
            .run(&mut self.memory, &[input.as_slice::<f32>()?], views);
        Ok(outputs.into_iter().map(Tensor::into_tvalue).collect())
    }

    fn reset_lanes(&mut self, _lanes: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}
