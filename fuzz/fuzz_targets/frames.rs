//! What a WebSocket client sends, in several segmentations.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| zmq2ws::fuzz::frames(input));
