//! From hetIR to LLVM.
