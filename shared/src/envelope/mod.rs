//! Bytes from WeChat to values and back: signature, AES, XML. Pure, no I/O.
