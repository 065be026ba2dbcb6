"""Kernels as LLVM IR: each module writes the text of one kind of function."""
