//! hetIR as PTX.
