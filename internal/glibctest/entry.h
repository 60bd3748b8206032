
/* Room for a detour before and at every function written in assembly, as gcc's -fpatchable-function-entry=16,14 leaves it
   before and at those written in C. */
#ifdef __ASSEMBLER__
# undef ENTRY_P2ALIGN
# define ENTRY_P2ALIGN(name, alignment)					      \
  .globl C_SYMBOL_NAME (name);						      \
  .type C_SYMBOL_NAME (name), @function;				      \
  .p2align alignment;							      \
  .skip (1 << (alignment)) - 14, 0x90;					      \
  77: .skip 14, 0x90;							      \
  C_LABEL (name)							      \
  cfi_startproc;							      \
  _CET_ENDBR;								      \
  nop; nop;								      \
  .pushsection __patchable_function_entries, "awo", @progbits, C_SYMBOL_NAME (name); \
  .p2align 3;								      \
  .quad 77b;								      \
  .popsection;								      \
  CALL_MCOUNT
#endif
