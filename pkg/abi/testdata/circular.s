# Debugging information in which types lead back to themselves without a name between.
	.section .debug_abbrev,"",@progbits
	.uleb128 1; .uleb128 0x11; .byte 1		# compile_unit
	.uleb128 0x03; .uleb128 0x08; .byte 0, 0	# name
	.uleb128 2; .uleb128 0x13; .byte 1		# structure_type
	.uleb128 0x0b; .uleb128 0x0b; .byte 0, 0	# byte_size
	.uleb128 3; .uleb128 0x0d; .byte 0		# member
	.uleb128 0x49; .uleb128 0x13; .byte 0, 0	# type
	.uleb128 4; .uleb128 0x0f; .byte 0		# pointer_type
	.uleb128 0x49; .uleb128 0x13; .byte 0, 0
	.uleb128 5; .uleb128 0x16; .byte 0		# typedef
	.uleb128 0x03; .uleb128 0x08; .uleb128 0x49; .uleb128 0x13; .byte 0, 0
	.uleb128 6; .uleb128 0x26; .byte 0		# const_type
	.uleb128 0x49; .uleb128 0x13; .byte 0, 0
	.uleb128 7; .uleb128 0x01; .byte 1		# array_type
	.uleb128 0x49; .uleb128 0x13; .byte 0, 0
	.uleb128 8; .uleb128 0x21; .byte 0		# subrange_type
	.uleb128 0x2f; .uleb128 0x07; .byte 0, 0	# upper_bound, data8
	.uleb128 9; .uleb128 0x2e; .byte 1		# subprogram
	.uleb128 0x03; .uleb128 0x08; .uleb128 0x11; .uleb128 0x01; .byte 0, 0
	.uleb128 10; .uleb128 0x05; .byte 0		# formal_parameter
	.uleb128 0x49; .uleb128 0x13; .byte 0, 0
	.uleb128 11; .uleb128 0x2e; .byte 0		# subprogram with an origin
	.uleb128 0x31; .uleb128 0x13; .uleb128 0x11; .uleb128 0x01; .byte 0, 0
	.byte 0
	.section .debug_info,"",@progbits
info:	.long end - begin
begin:	.short 4; .long 0; .byte 8
	.uleb128 1; .asciz "circular.c"
struct:	.uleb128 2; .byte 8
	.rept 200
	.uleb128 3; .long struct - info
	.uleb128 3; .long pointers - info
	.endr
	.byte 0
pointers:
	.rept 200
	.uleb128 4; .long struct - info
	.endr
self:	.uleb128 4; .long self - info
def:	.uleb128 5; .asciz "def"; .long def - info
const:	.uleb128 6; .long const - info
array:	.uleb128 7; .long array - info
	.uleb128 8; .quad 0x7fffffffffffffff
	.uleb128 8; .quad 3
	.byte 0
	.uleb128 9; .asciz "f"; .quad 0x1000
	.uleb128 10; .long struct - info
	.uleb128 10; .long pointers - info
	.uleb128 10; .long self - info
	.uleb128 10; .long def - info
	.uleb128 10; .long const - info
	.uleb128 10; .long array - info
	.uleb128 10; .long 0x7fffffff
	.byte 0
one:	.uleb128 11; .long two - info; .quad 0x2000
two:	.uleb128 11; .long one - info; .quad 0x3000
	.byte 0
end:
