//! A gateway inside a host's loop: the descriptor, the deadline, and turns that do not wait.

use std::io::Read;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zmq2ws::Gateway;

#[test]
fn a_host_that_waits_for_the_descriptor_and_the_deadline_neither_spins_nor_stops_the_clock() {
    let builder = Gateway::builder().bind("tcp://127.0.0.1:*").listen(([127, 0, 0, 1], 0));
    let mut gateway = builder.handshake_timeout(Duration::from_secs(2)).build().unwrap();
    let address = gateway.listen_addresses()[0].replace("http://", "");
    let mut client = TcpStream::connect(address).unwrap();
    client.set_nonblocking(true).unwrap();
    let begun = Instant::now();
    let mut turns = 0;
    // Says nothing, so it is closed after two seconds.
    while !matches!(client.read(&mut [0; 64]), Ok(0)) && begun.elapsed() < Duration::from_secs(8) {
        let wait = gateway.next_deadline().map_or(Duration::from_secs(1), |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        // Up to the next whole millisecond and a little more, as any host does.
        let wait = Timespec::try_from(wait + Duration::from_millis(1)).unwrap();
        poll(&mut [PollFd::new(&gateway.as_fd(), PollFlags::IN)], Some(&wait)).unwrap();
        gateway.turn(Some(Duration::ZERO)).unwrap();
        turns += 1;
    }
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(3) && turns < 100, "{turns} turns in {taken:?}");
}
