//! What publishers send: counters, and bodies to be inflated.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| zmq2ws::fuzz::messages(input));
