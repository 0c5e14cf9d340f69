//! The kernels of the suite: data, launches, references. References are computed in f64 where results are rounded.

mod grids;
mod linear;
mod maths;
mod sums;

use super::case::{Argument, Case, Kernel, Outcome, Size};

/// The forms of a source that reduces or scans over a work-group: by hand in local memory, by work-group functions, by
/// sub-group functions.
const GROUP_FORMS: &[&str] = &["", "-cl-std=CL2.0 -DWORK_GROUP", "-cl-std=CL3.0 -DSUB_GROUP"];

/// The forms of a source that stages data in local memory, and can do without.
const STAGED_FORMS: &[&str] = &["", "-DDIRECT"];

pub(crate) const KERNELS: &[Kernel] = &[
    Kernel { name: "saxpy", forms: &[""], case: linear::saxpy },
    Kernel { name: "matmul_tiled", forms: &[""], case: linear::matmul_tiled },
    Kernel { name: "matmul_blocked", forms: &["", "-DINTERLEAVED"], case: linear::matmul_blocked },
    Kernel {
        name: "reduce",
        forms: &["", "-DUNIFORM", "-cl-std=CL2.0 -DWORK_GROUP -DUNIFORM", "-cl-std=CL3.0 -DSUB_GROUP -DUNIFORM"],
        case: sums::reduce,
    },
    Kernel { name: "block_scan", forms: GROUP_FORMS, case: sums::block_scan },
    Kernel { name: "stencil", forms: STAGED_FORMS, case: grids::stencil },
    Kernel { name: "transpose", forms: STAGED_FORMS, case: grids::transpose },
    Kernel { name: "nbody", forms: STAGED_FORMS, case: maths::nbody },
    Kernel { name: "black_scholes", forms: &[""], case: maths::black_scholes },
    Kernel { name: "mandelbrot", forms: &[""], case: grids::mandelbrot },
    Kernel { name: "spmv", forms: &[""], case: linear::spmv },
    Kernel { name: "histogram", forms: &["", "-DUNIFORM"], case: sums::histogram },
    Kernel { name: "bitonic_sort", forms: &[""], case: sums::bitonic_sort },
    Kernel { name: "sha256", forms: &[""], case: maths::sha256 },
    Kernel { name: "monte_carlo", forms: &[""], case: maths::monte_carlo },
    Kernel { name: "convolution", forms: STAGED_FORMS, case: grids::convolution },
    Kernel { name: "layer_norm", forms: GROUP_FORMS, case: sums::layer_norm },
    Kernel { name: "softmax", forms: GROUP_FORMS, case: sums::softmax },
    Kernel { name: "matmul_f16", forms: &["", "-DADJACENT"], case: linear::matmul_f16 },
    Kernel { name: "matmul_int8", forms: &["", "-DADJACENT"], case: linear::matmul_int8 },
];

/// A kernel that does nothing: what a launch costs.
pub(crate) const EMPTY: Kernel = Kernel { name: "empty", forms: &[""], case: empty };

pub(crate) fn find(name: &str) -> Result<&'static Kernel, String> {
    let all = KERNELS.iter().chain([&EMPTY]);
    all.into_iter().find(|kernel| kernel.name == name).ok_or_else(|| {
        let known: Vec<&str> = KERNELS.iter().map(|kernel| kernel.name).collect();
        format!("there is no kernel `{name}`; there are {}", known.join(" "))
    })
}

fn empty(_: Size) -> Case {
    let case = Case::new(|| Outcome::new(Vec::new())).read(vec![0; 4]);
    case.step("empty", [1, 1, 1], [32, 1, 1], &[Argument::Buffer(0)])
}

/// Blocks of `block` threads for `count` elements.
fn blocks(count: u32, block: u32) -> u32 {
    count.div_ceil(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hetir::diag::Severity;
    use ptx_frontend::{Options, lift_text};
    use std::path::Path;

    fn source(name: &str, extension: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels").join(name).with_extension(extension);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn every_kernel_has_its_sources() {
        for kernel in KERNELS.iter().chain([&EMPTY]) {
            let (cuda, opencl) = (source(kernel.name, "cu"), source(kernel.name, "cl"));
            let output = lift_text(&source(kernel.name, "ptx"), Options { lenient: false });
            let errors: Vec<_> = output.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", kernel.name);
            for step in (kernel.case)(Size::Tiny).steps {
                let function = output.module.functions.iter().find(|function| function.name == step.function);
                let function = function.unwrap_or_else(|| panic!("{}: no {}", kernel.name, step.function));
                assert!(function.is_kernel() && cuda.contains(step.function) && opencl.contains(step.function));
            }
            for form in kernel.forms.iter().flat_map(|form| form.split(' ')).filter_map(|word| word.strip_prefix("-D"))
            {
                assert!(opencl.contains(form), "{}: nothing asks for {form}", kernel.name);
            }
        }
    }

    #[test]
    fn references_fill_the_outputs() {
        for kernel in KERNELS {
            let case = (kernel.case)(Size::Tiny);
            let sizes: Vec<usize> = case.outputs().map(|index| case.buffers[index].bytes.len()).collect();
            let expected: Vec<usize> = (case.reference)().expected.iter().map(|expected| expected.bytes()).collect();
            assert_eq!(sizes, expected, "{}", kernel.name);
        }
    }

    #[test]
    fn untouched_outputs_are_wrong() {
        for kernel in KERNELS {
            let case = (kernel.case)(Size::Tiny);
            let first = case.outputs().next().unwrap();
            let before = case.buffers[first].bytes.clone();
            assert!((case.reference)().expected[0].check(&before).is_err(), "{}", kernel.name);
        }
    }
}
