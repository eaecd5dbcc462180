"""Source code and configuration files, as they stand."""

from functools import partial

from sliminfer.documents.formats.plain import as_text
from sliminfer.documents.kind import Kind

_SUFFIXES = """
.asm .awk .bash .bat .bib .c .cc .cfg .clj .cls .cmake .conf .cpp .cs .css .cu .cuh .cxx .dart .diff .el
.erl .ex .f90 .fs .go .gradle .graphql .h .hpp .hs .hxx .ini .java .jl .js .jsx .kt .lean .lisp .lua
.m .mjs .ml .mlir .nim .nix .patch .php .pl .proto .ps1 .py .pyi .r .rb .rs .sass .scala .scm .scss .sh .sql
.sty .svelte .swift .tcl .tex .tf .toml .ts .tsx .vb .vim .vue .xml .xsd .xsl .yaml .yml .zig .zsh
"""

# XML, among these, names its encoding in its first line.
CODE = Kind("code", "source code", tuple(_SUFFIXES.split()), partial(as_text, markup=True))
