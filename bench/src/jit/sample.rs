//! A kernel of a given length, of what kernels are made of: arithmetic, loads and stores in order and at random places,
//! selections, divergent branches and loops.

use std::fmt::Write;

/// Values in use at a time, as in code by a compiler.
const FLOATS: u64 = 24;
const INTEGERS: u64 = 12;

/// Writes instructions and counts them.
struct Writer {
    text: String,
    count: usize,
    labels: usize,
    /// A small generator of numbers (xorshift), so that each run sees the same kernel.
    state: u64,
}

impl Writer {
    fn below(&mut self, n: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 32) % n
    }

    fn float(&mut self) -> String {
        format!("%f{}", self.below(FLOATS))
    }

    fn integer(&mut self) -> String {
        format!("%r{}", self.below(INTEGERS))
    }

    fn put(&mut self, instruction: &str) {
        self.count += 1;
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "    {instruction};");
    }

    fn label(&mut self) -> String {
        self.labels += 1;
        format!("L{}", self.labels)
    }

    fn place(&mut self, label: &str) {
        let _ = writeln!(self.text, "{label}:");
    }

    fn arithmetic(&mut self) {
        let (d, a, b, c) = (self.float(), self.float(), self.float(), self.float());
        match self.below(4) {
            0 => self.put(&format!("add.rn.f32 {d}, {a}, {b}")),
            1 => self.put(&format!("mul.rn.f32 {d}, {a}, {b}")),
            _ => self.put(&format!("fma.rn.f32 {d}, {a}, {b}, {c}")),
        }
    }

    fn step(&mut self) {
        let (f, g, h) = (self.float(), self.float(), self.float());
        let (r, s, t) = (self.integer(), self.integer(), self.integer());
        match self.below(100) {
            0..45 => self.arithmetic(),
            45..52 => self.put(&format!("mad.lo.s32 {r}, {s}, {t}, {r}")),
            52..58 => self.put(&format!("xor.b32 {r}, {s}, {t}")),
            58..62 => self.put(&format!("shl.b32 {r}, {s}, 3")),
            62..68 => {
                self.put(&format!("setp.lt.f32 %p0, {f}, {g}"));
                self.put(&format!("selp.f32 {h}, {f}, {g}, %p0"));
            }
            68..76 => {
                let offset = self.below(64) * 128;
                self.put(&format!("ld.global.f32 {f}, [%rd1+{offset}]"));
            }
            76..80 => {
                self.put(&format!("and.b32 %r12, {r}, 1023"));
                self.put("mul.wide.u32 %rd4, %r12, 4");
                self.put("add.s64 %rd4, %rd4, %rd0");
                self.put(&format!("ld.global.f32 {f}, [%rd4]"));
            }
            80..86 => {
                let offset = self.below(64) * 128;
                self.put(&format!("st.global.f32 [%rd2+{offset}], {f}"));
            }
            86..93 => {
                let end = self.label();
                self.put(&format!("setp.ge.s32 %p1, {r}, {s}"));
                self.put(&format!("@%p1 bra {end}"));
                for _ in 0..6 {
                    self.arithmetic();
                }
                self.put(&format!("st.global.f32 [%rd2+{}], {f}", self.labels * 4));
                self.place(&end);
            }
            93..96 => {
                let head = self.label();
                self.put("mov.u32 %r13, 0");
                self.put("mov.u64 %rd5, %rd1");
                self.place(&head);
                self.put(&format!("ld.global.f32 {g}, [%rd5]"));
                self.arithmetic();
                self.put(&format!("fma.rn.f32 {f}, {g}, {h}, {f}"));
                self.put("add.s64 %rd5, %rd5, 128");
                self.put("add.s32 %r13, %r13, 1");
                self.put("setp.lt.u32 %p2, %r13, %r14");
                self.put(&format!("@%p2 bra {head}"));
            }
            _ => {
                self.put(&format!("cvt.rn.f32.s32 {f}, {r}"));
                self.put(&format!("sqrt.rn.f32 {g}, {f}"));
            }
        }
    }
}

/// A module with one kernel of about so many instructions.
pub(super) fn kernel(instructions: usize) -> String {
    let mut w = Writer { text: String::new(), count: 0, labels: 0, state: 0x9e37_79b9_7f4a_7c15 };
    w.text.push_str(
        ".version 7.0\n.target sm_75\n.address_size 64\n\
         .visible .entry sample(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)\n{\n    \
         .reg .pred %p<3>;\n    .reg .f32 %f<24>;\n    .reg .b32 %r<16>;\n    .reg .b64 %rd<6>;\n",
    );
    for (register, parameter) in [("%rd0", "a"), ("%rd1", "b"), ("%rd2", "c")] {
        w.put(&format!("ld.param.u64 {register}, [{parameter}]"));
    }
    w.put("ld.param.u32 %r14, [n]");
    w.put("mov.u32 %r15, %tid.x");
    w.put("mul.wide.u32 %rd3, %r15, 4");
    w.put("add.s64 %rd1, %rd1, %rd3");
    w.put("add.s64 %rd2, %rd2, %rd3");
    for i in 0..FLOATS / 4 {
        w.put(&format!("ld.global.f32 %f{i}, [%rd1+{}]", i * 128));
    }
    for i in 0..INTEGERS {
        w.put(&format!("add.s32 %r{i}, %r15, {}", i * 7));
    }
    while w.count + 4 + 1 < instructions {
        w.step();
    }
    for i in 0..4 {
        w.put(&format!("st.global.f32 [%rd2+{}], %f{i}", 8192 + i * 128));
    }
    w.put("ret");
    w.text.push_str("}\n");
    w.text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_sound_and_as_long_as_asked() {
        for instructions in [100, 5000] {
            let text = kernel(instructions);
            let output = ptx_frontend::lift_text(&text, ptx_frontend::Options { lenient: false });
            assert!(output.diagnostics.is_empty(), "{:?}", output.diagnostics);
            assert!(hetir::verify::verify(&output.module).is_ok());
            let lines = text.lines().filter(|line| line.starts_with("    ") && !line.contains(".reg")).count();
            assert!((instructions..instructions + 20).contains(&lines), "{lines} for {instructions}");
            let kernels: Vec<_> = output.module.functions.iter().filter(|function| function.is_kernel()).collect();
            let insts: usize = kernels[0].body.iter().flat_map(|body| &body.blocks).map(|b| b.insts.len()).sum();
            assert!(insts >= instructions * 3 / 4, "{insts} for {instructions}");
        }
    }
}
