//! A kernel on its way to code, in files that people read.

use super::jit::Jit;
use super::pipeline::{self, Stage};
use super::{Form, Shape};
use crate::lower;
use hetgpu_cache::hex;
use hetir::entity::FuncId;
use hetir::ir::Module;
use std::fs;
use std::io;
use std::path::Path;

/// Characters of a kernel's name that become part of a file's name; mangled names may be longer than names of files.
const NAME: usize = 100;
/// Digits of a digest that tell kernels of one name apart.
const DIGITS: usize = 16;

impl Jit {
    /// Saves LLVM's form before and behind its passes, the assembly and the object file of a kernel, under its name, shape
    /// and the digest that names it in the cache. It is compiled anew for this.
    pub fn save(&self, folder: &Path, module: &Module, kernel: FuncId, shape: &Shape) -> io::Result<()> {
        let other = |error| io::Error::other(format!("{error}"));
        fs::create_dir_all(folder)?;
        let name = module.functions.get(kernel.index()).map_or("", |function| &function.name);
        let name: String = name.chars().filter(|c| c.is_alphanumeric() || "_$.".contains(*c)).take(NAME).collect();
        let [x, y, z] = shape.block;
        let form = match shape.form {
            Form::Warp => "warp",
            Form::Lane => "lane",
        };
        let digest = &hex(&self.key(module, kernel, shape))[..DIGITS];
        let path = |end| folder.join(format!("{name}.{x}x{y}x{z}.{form}.{digest}.{end}"));
        for (end, stage) in [("ll", Stage::Lowered), ("opt.ll", Stage::Optimised), ("s", Stage::Assembly)] {
            fs::write(path(end), self.text(module, kernel, shape, stage).map_err(other)?)?;
        }
        let object =
            pipeline::object(self.machine(), |context, machine| lower::kernel(context, module, kernel, shape, machine));
        fs::write(path("o"), object.map_err(other)?.0.object)
    }
}
