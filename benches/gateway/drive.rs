//! One run: a fresh server, its clients and its publisher, under a load, and what came of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::Result;
use crate::case::{Case, Figure, Load};
use crate::cores::Cores;
use crate::progress::Progress;
use crate::publisher::Publisher;
use crate::server::{Running, Server};
use crate::swarm::Swarm;

/// Figures of one run.
pub(crate) type Figures = BTreeMap<Figure, f64>;

/// What may be under way to one client: less than the smallest buffer on the way, so that nothing is lost or held back.
const WINDOW_BYTES: usize = 128 << 10;

/// What may be under way to all clients: the kernel's share for TCP is a few times that on a machine of 8 GiB.
const WINDOW_BYTES_OF_ALL: usize = 256 << 20;

/// More than any frame adds to its body.
const FRAME_BYTES: usize = 64;

/// Nothing arrived for so long though something is under way: it is lost.
const STALL: Duration = Duration::from_secs(5);

/// How long messages under way are waited for at the end of a phase. What is slower is measured with them under way.
const DRAIN: Duration = Duration::from_secs(4);

/// Nothing happened for so long: the server is calm. Where clients are pinged all the time it never is.
const CALM: Duration = Duration::from_millis(100);
const CALM_TIMEOUT: Duration = Duration::from_secs(1);

/// The part of a load that is driven before it is measured.
const WARM_UP: f64 = 0.25;

/// Runs `case` once over `server`.
pub(crate) fn run(
    case: &Case,
    server: &Server,
    cores: Cores,
    on_open: impl FnMut(usize),
) -> Result<Figures> {
    let publisher = Publisher::bind(case.body_bytes, case.has_topic)?;
    let suffix = if matches!(server, Server::Gateway { .. }) { case.suffix_bytes } else { 0 };
    let mut run = Run {
        server: server.start(cores, &publisher.endpoint, case.clients)?,
        swarm: Swarm::new(case.body_bytes, suffix)?,
        progress: Progress::new(case.clients, Instant::now())?,
        window: window(case),
        publisher,
    };
    run.rest()?;
    let base_bytes = run.server.pss_bytes()?;
    let before = run.server.cpu()?;
    run.swarm.connect(run.server.address, case.clients, STALL, on_open)?;
    run.rest()?;
    let count = case.clients as f64;
    match case.load {
        Load::Handshakes => {
            let cpu = run.server.cpu()? - before;
            Ok([(Figure::CpuPerHandshake, cpu.as_secs_f64() * 1e6 / count)].into())
        }
        Load::Idle => {
            let grown = run.server.pss_bytes()?.saturating_sub(base_bytes);
            let per_client = (Figure::MemoryPerClient, grown as f64 / count);
            Ok([per_client, (Figure::BaseMemory, base_bytes as f64 / 1024.0)].into())
        }
        Load::FlatOut { seconds } => {
            run.begin_to_publish()?;
            run.flat_out(seconds * WARM_UP)?;
            run.measure(|run| run.flat_out(seconds))
        }
        Load::Paced { per_second, seconds } => {
            run.begin_to_publish()?;
            run.paced(per_second, seconds * WARM_UP)?;
            let mut figures = run.measure(|run| run.paced(per_second, seconds))?;
            let latencies = &run.progress.latencies;
            for (figure, histogram, quantile) in [
                (Figure::FirstP50, &latencies.first, 0.5),
                (Figure::FirstP99, &latencies.first, 0.99),
                (Figure::LastP50, &latencies.last, 0.5),
                (Figure::LastP99, &latencies.last, 0.99),
            ] {
                figures.insert(figure, histogram.value_at_quantile(quantile) as f64 / 1e3);
            }
            Ok(figures)
        }
    }
}

fn window(case: &Case) -> u64 {
    let bytes = WINDOW_BYTES.min(WINDOW_BYTES_OF_ALL / case.clients.max(1));
    let messages = bytes / (case.body_bytes + FRAME_BYTES);
    (messages as u64).clamp(2, Progress::WINDOW_MAX)
}

struct Run {
    /// Before the clients, so that it is gone before they are.
    server: Running,
    swarm: Swarm,
    progress: Progress,
    window: u64,
    publisher: Publisher,
}

impl Run {
    /// Waits until nothing happens any more, or not much longer than that should take.
    fn rest(&mut self) -> Result<()> {
        let end = Instant::now() + CALM_TIMEOUT;
        while self.swarm.wait(Some(CALM), &mut self.progress)? && Instant::now() < end {}
        Ok(())
    }

    /// Returns when each client is known to be served.
    fn begin_to_publish(&mut self) -> Result<()> {
        self.publisher.wait_for_subscription()?;
        let end = Instant::now() + STALL;
        while self.swarm.probed() < self.swarm.len() {
            if Instant::now() > end {
                let (served, all) = (self.swarm.probed(), self.swarm.len());
                return Err(format!("only {served} of {all} clients are served").into());
            }
            self.publisher.send(0)?;
            self.rest()?;
        }
        Ok(())
    }

    fn measure(&mut self, load: impl FnOnce(&mut Self) -> Result<()>) -> Result<Figures> {
        self.progress.begin();
        let (cpu, start) = (self.server.cpu()?, Instant::now());
        let (deliveries, published) = (self.progress.deliveries, self.progress.published());
        let (reads, bytes) = (self.swarm.reads, self.swarm.bytes);
        load(self)?;
        let cpu = (self.server.cpu()? - cpu).as_secs_f64();
        let seconds = start.elapsed().as_secs_f64();
        let deliveries = (self.progress.deliveries - deliveries) as f64;
        let published = (self.progress.published() - published) as f64;
        if deliveries == 0.0 {
            return Err("nothing was delivered".into());
        }
        Ok([
            (Figure::CpuPerDelivery, cpu * 1e9 / deliveries),
            (Figure::Deliveries, deliveries / seconds / 1e3),
            (Figure::DeliveriesPerRead, deliveries / (self.swarm.reads - reads) as f64),
            (Figure::CpuShare, cpu / seconds * 100.0),
            (Figure::MessageRate, published / seconds),
            (Figure::FrameBytes, (self.swarm.bytes - bytes) as f64 / deliveries),
        ]
        .into())
    }

    /// A closed loop: a message is published when the slowest client has got the one a window before it.
    fn flat_out(&mut self, seconds: f64) -> Result<()> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        loop {
            let now = Instant::now();
            if now >= end {
                return self.drain();
            }
            while self.progress.under_way() < self.window {
                let number = self.progress.publish(now);
                self.publisher.send(number)?;
            }
            self.wait()?;
        }
    }

    /// An open loop, but for the window: latencies count from when a message was due, so that one that was held back
    /// counts with all of its delay.
    fn paced(&mut self, per_second: u32, seconds: f64) -> Result<()> {
        let interval = Duration::from_secs(1) / per_second;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let period = Timespec::try_from(interval)?;
        let setting = Itimerspec { it_interval: period, it_value: period };
        let start = Instant::now();
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)?;
        self.swarm.add_timer(&timer)?;
        let end = start + Duration::from_secs_f64(seconds);
        let mut due = start + interval;
        while due < end {
            let now = Instant::now();
            if now >= end {
                break; // It cannot be sent so fast: the rate says so.
            }
            while due <= now && self.progress.under_way() < self.window {
                let number = self.progress.publish(due);
                self.publisher.send(number)?;
                due += interval;
            }
            self.wait()?;
            match rustix::io::read(&timer, &mut [0; 8]) {
                Ok(_) | Err(Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        drop(timer);
        self.drain()
    }

    fn drain(&mut self) -> Result<()> {
        let end = Instant::now() + DRAIN;
        while self.progress.under_way() > 0 && Instant::now() < end {
            self.wait()?;
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        if self.swarm.wait(Some(STALL), &mut self.progress)? {
            return Ok(());
        }
        let lost = self.progress.under_way();
        Err(format!("nothing arrives, though {lost} messages are under way").into())
    }
}
