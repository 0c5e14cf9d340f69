"""numba-cuda's own tests: modules that launch kernels and take little time."""

import suite

# The package's tests need it imported before them.
import numba.cuda.testing  # noqa: F401

MODULES = """
array_args array_methods blackscholes boolean casting complex_kernel const_string constmem cooperative_groups datetime
device_func enums forall freevar gufunc_scalar idiv intrinsics iterators lang laplace localmem mandel matmul minmax montecarlo
multithreads nondet powi py2_div_issue random record_dtype recursion reduction slicing sm sync transpose userexc vector_type
warp_ops
"""

# Some of the tests start processes, which import this.
if __name__ == "__main__":
    suite.run("numba.cuda.tests.cudapy", [f"test_{module}" for module in MODULES.split()])
