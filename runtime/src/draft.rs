//! Launches that a program puts together call by call before it makes them.

use crate::module::Function;
use crate::{Error, Result};

/// What has been said so far about the next launch of a function.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Draft {
    /// Threads a block; none before it was said.
    block: Option<[u32; 3]>,
    dynamic_shared: u32,
    params: Vec<u8>,
    /// Bytes of `params` that count.
    param_bytes: usize,
}

/// Most bytes of parameters that a kernel of any kind takes.
const PARAM_BYTES: usize = 32_764;

impl Draft {
    pub fn set_block(&mut self, block: [u32; 3]) {
        self.block = Some(block);
    }

    pub fn set_dynamic_shared(&mut self, bytes: u32) {
        self.dynamic_shared = bytes;
    }

    pub fn set_param_bytes(&mut self, bytes: usize) -> Result<()> {
        if bytes > PARAM_BYTES {
            return Err(Error::invalid(format!("{bytes} bytes of parameters, at most {PARAM_BYTES}")));
        }
        self.param_bytes = bytes;
        Ok(())
    }

    /// Writes a part of the parameters.
    pub fn set_params(&mut self, offset: usize, bytes: &[u8]) -> Result<()> {
        let end = offset.checked_add(bytes.len()).filter(|&end| end <= PARAM_BYTES);
        let end =
            end.ok_or_else(|| Error::invalid(format!("a parameter at {offset} is beyond {PARAM_BYTES} bytes")))?;
        if self.params.len() < end {
            self.params.resize(end, 0);
        }
        self.params[offset..end].copy_from_slice(bytes);
        Ok(())
    }

    /// Block, dynamic shared memory and parameters of the launch.
    pub fn finished(&self) -> Result<([u32; 3], u32, Vec<u8>)> {
        let block = self.block.ok_or_else(|| Error::invalid("the shape of a block was not set"))?;
        let mut params = self.params.clone();
        params.resize(self.param_bytes, 0);
        Ok((block, self.dynamic_shared, params))
    }
}

impl Function {
    /// Changes what the next launch of the function will be.
    pub fn change_draft<R>(&self, change: impl FnOnce(&mut Draft) -> R) -> R {
        change(&mut self.draft.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_in_any_order_and_are_cut_to_their_size() {
        let mut draft = Draft::default();
        assert!(draft.finished().is_err(), "a launch without the shape of a block");
        draft.set_block([8, 1, 1]);
        draft.set_params(8, &[9; 4]).unwrap();
        draft.set_params(0, &[1; 8]).unwrap();
        draft.set_param_bytes(10).unwrap();
        assert_eq!(draft.finished().unwrap(), ([8, 1, 1], 0, vec![1, 1, 1, 1, 1, 1, 1, 1, 9, 9]));
        draft.set_param_bytes(16).unwrap();
        assert_eq!(draft.finished().unwrap().2[8..], [9, 9, 9, 9, 0, 0, 0, 0]);
        assert!(draft.set_params(PARAM_BYTES, &[1]).is_err() && draft.set_params(usize::MAX, &[1]).is_err());
        assert!(draft.set_param_bytes(PARAM_BYTES + 1).is_err());
    }
}
