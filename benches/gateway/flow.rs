//! One stream of messages and those who get it: a publisher, its clients, and the loops that keep a window or a rate.
//! Knows no server but its address.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::Result;
use crate::progress::Progress;
use crate::publisher::Publisher;
use crate::swarm::Swarm;

/// What may be under way to one client: less than the smallest buffer on the way, so that nothing is lost or held back.
pub(crate) const WINDOW_BYTES: usize = 128 << 10;

/// What may be under way to all clients: the kernel's share for TCP is a few times that on a machine of 8 GiB.
const WINDOW_BYTES_OF_ALL: usize = 256 << 20;

/// Nothing arrived for so long though something is under way: it is lost.
pub(crate) const STALL: Duration = Duration::from_secs(5);

/// How long messages under way are waited for at the end of a phase: a window to 1,000 clients at 25 µs each.
const DRAIN: Duration = Duration::from_secs(30);

/// What the last message of a phase may take: longer is a backlog, and a rate that was not kept.
const DELAY: Duration = Duration::from_millis(200);

/// Nothing happened for so long: the server is calm. Where clients are pinged all the time it never is.
const CALM: Duration = Duration::from_millis(100);
const CALM_TIMEOUT: Duration = Duration::from_secs(1);

/// A publisher and its clients.
pub(crate) struct Flow {
    pub(crate) swarm: Swarm,
    pub(crate) progress: Progress,
    pub(crate) publisher: Publisher,
    topic: &'static str,
    window: u64,
}

/// How many messages of `message_bytes` may be under way to so many clients.
fn window(clients: usize, message_bytes: usize) -> u64 {
    let bytes = WINDOW_BYTES.min(WINDOW_BYTES_OF_ALL / clients.max(1));
    let messages = bytes / message_bytes;
    (messages as u64).clamp(2, Progress::WINDOW_MAX)
}

impl Flow {
    /// Of messages under `topic` that take `message_bytes` at most, to clients who are still to connect.
    pub(crate) fn new(
        publisher: Publisher,
        topic: &'static str,
        swarm: Swarm,
        readers: usize,
        message_bytes: usize,
    ) -> Result<Self> {
        let progress = Progress::new(readers, Instant::now())?;
        Ok(Self { swarm, progress, publisher, topic, window: window(readers, message_bytes) })
    }

    /// Waits until nothing happens any more, or not much longer than that should take.
    pub(crate) fn rest(&mut self) -> Result<()> {
        let end = Instant::now() + CALM_TIMEOUT;
        while self.swarm.wait(Some(CALM), &mut self.progress)? && Instant::now() < end {}
        Ok(())
    }

    /// Returns when each client that reads is known to be served.
    pub(crate) fn begin_to_publish(&mut self) -> Result<()> {
        self.publisher.wait_for_subscription()?;
        let end = Instant::now() + STALL;
        while self.swarm.probed() < self.swarm.readers() {
            if Instant::now() > end {
                let (served, all) = (self.swarm.probed(), self.swarm.readers());
                return Err(format!("only {served} of {all} clients are served").into());
            }
            self.publisher.send(self.topic, 0)?;
            self.rest()?;
        }
        Ok(())
    }

    /// The next message, which was due at `due`.
    pub(crate) fn publish(&mut self, due: Instant) -> Result<()> {
        let number = self.progress.publish(due);
        self.publisher.send(self.topic, number)
    }

    /// A closed loop: a message is published when the slowest client has got the one a window before it.
    pub(crate) fn flat_out(&mut self, seconds: f64) -> Result<()> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        loop {
            let now = Instant::now();
            if now >= end {
                return self.drain();
            }
            while self.progress.under_way() < self.window {
                self.publish(now)?;
            }
            self.wait()?;
        }
    }

    /// An open loop, but for the window: latencies count from when a message was due, so that one that was held back
    /// counts with all of its delay. Returns which part of the rate was kept.
    pub(crate) fn paced(&mut self, per_second: u32, seconds: f64) -> Result<f64> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        self.paced_while(per_second, |now| now < end)
    }

    /// The same for as long as `go_on` says so.
    pub(crate) fn paced_while(
        &mut self,
        per_second: u32,
        mut go_on: impl FnMut(Instant) -> bool,
    ) -> Result<f64> {
        let interval = Duration::from_secs(1) / per_second;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let period = Timespec::try_from(interval)?;
        let setting = Itimerspec { it_interval: period, it_value: period };
        let (start, before) = (Instant::now(), self.progress.published());
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)?;
        self.swarm.add_timer(&timer)?;
        let mut due = start + interval;
        let mut now = Instant::now();
        while go_on(now) {
            while due <= now && self.progress.under_way() < self.window {
                self.publish(due)?;
                due += interval;
            }
            self.wait()?;
            match rustix::io::read(&timer, &mut [0; 8]) {
                Ok(_) | Err(Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
            now = Instant::now();
        }
        drop(timer);
        let seconds = (now - start).as_secs_f64();
        self.drain()?;
        let wanted = (seconds / interval.as_secs_f64()).floor() - 1.0;
        let published = (self.progress.published() - before) as f64 / wanted.max(1.0);
        let delivered = seconds / start.elapsed().saturating_sub(DELAY).as_secs_f64();
        Ok(published.min(delivered).min(1.0))
    }

    /// Waits until everybody has everything.
    pub(crate) fn drain(&mut self) -> Result<()> {
        let end = Instant::now() + DRAIN;
        while self.progress.under_way() > 0 {
            if Instant::now() > end {
                let left = self.progress.under_way();
                let seconds = DRAIN.as_secs();
                return Err(
                    format!("{left} messages are under way {seconds} s after the last").into()
                );
            }
            self.wait()?;
        }
        Ok(())
    }

    pub(crate) fn wait(&mut self) -> Result<()> {
        if self.swarm.wait(Some(STALL), &mut self.progress)? {
            return Ok(());
        }
        let lost = self.progress.under_way();
        Err(format!("nothing arrives, though {lost} messages are under way").into())
    }
}
