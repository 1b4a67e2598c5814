//! One run: a fresh server, its clients and its publisher, under a load, and what came of it.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use crate::Result;
use crate::case::{Case, Contender, Figure, Load, Work};
use crate::cores::Cores;
use crate::fairness;
use crate::flow::{Flow, STALL};
use crate::one_by_one::{self, OneByOne};
use crate::progress::Latencies;
use crate::publisher::Publisher;
use crate::requests::{self, Requests};
use crate::resume::{Known, Outcome};
use crate::server::{Running, Server};
use crate::swarm::Swarm;
use crate::transport::Transport;

/// Figures of one run.
pub(crate) type Figures = BTreeMap<Figure, f64>;

/// Of the messages.
const TOPIC: &str = "bench";

/// The part of a load that is driven before it is measured.
const WARM_UP: f64 = 0.25;

/// Below it a rate was not kept, and what was measured is something else.
const RATE_KEPT_MIN: f64 = 0.98;

/// Clients that are there before the memory of the others is measured: what grows once has grown.
const FIRST_CLIENTS: usize = 1_000;

/// How often a slow client reads, and how much: 0.4 MB/s.
const SIP_INTERVAL: Duration = Duration::from_millis(10);
const SIP_BYTES: usize = 4 << 10;
const OVERTAKING_TIMEOUT: Duration = Duration::from_secs(60);

/// The interval of pings that a share of a core is scaled from, and the default that it is scaled to.
pub(crate) const PING_SECONDS: f64 = 5.0;
const PING_SECONDS_DEFAULT: f64 = 25.0;

/// Why a run counts for nothing.
pub(crate) struct Invalid {
    pub(crate) reason: String,
    /// The part of the rate that was kept, where that is why.
    pub(crate) rate_kept: Option<f64>,
}

impl<E: Into<Box<dyn std::error::Error>>> From<E> for Invalid {
    fn from(error: E) -> Self {
        Self { reason: error.into().to_string(), rate_kept: None }
    }
}

/// Runs one contender of `case` once.
pub(crate) fn run(
    case: &Case,
    contender: &Contender,
    cores: Cores,
    on_open: impl FnMut(usize),
) -> std::result::Result<Figures, Invalid> {
    let figures = Run::start(case, contender, cores)?.figures(contender.work, on_open)?;
    match figures.get(&Figure::RateKept) {
        Some(&kept) if kept < RATE_KEPT_MIN => Err(Invalid {
            reason: format!("only {:.1} % of the rate was kept", kept * 100.0),
            rate_kept: Some(kept),
        }),
        _ => Ok(figures),
    }
}

struct Run {
    /// Before the clients, so that it is gone before they are.
    server: Running,
    flow: Flow,
    quiet: Option<fairness::Quiet>,
    is_host: bool,
    /// Of a host, once the clients are there.
    requests: Option<Requests>,
}

impl Run {
    fn start(
        case: &Case,
        Contender { server, work, .. }: &Contender,
        cores: Cores,
    ) -> Result<Self> {
        let mut publisher = Publisher::bind(work.body_bytes)?;
        if work.transport == Transport::Deflated {
            publisher = publisher.with_short_probes();
        }
        let is_host = matches!(server, Server::Embedded);
        let suffix = if matches!(server, Server::Gateway { .. }) { case.suffix_bytes } else { 0 };
        let (server, quiet) = if let Load::Fairness { .. } = work.load {
            let quiet = fairness::Quiet::bind()?;
            (server.clone().and_connect(quiet.endpoint()), Some(quiet))
        } else {
            (server.clone(), None)
        };
        let server = server.start(cores, &publisher.endpoint, work.clients)?;
        let readers = work.clients - work.stalled;
        let swarm = Swarm::new(work.transport, work.body_bytes, suffix)?;
        let message_bytes = work.body_bytes + work.envelope_bytes;
        let flow = Flow::new(publisher, TOPIC, swarm, readers, message_bytes)?;
        Ok(Self { server, flow, quiet, is_host, requests: None })
    }

    fn figures(mut self, work: Work, mut on_open: impl FnMut(usize)) -> Result<Figures> {
        self.flow.rest()?;
        let base_bytes = self.server.pss_bytes()?;
        let cpu = self.server.cpu()?;
        if let Load::OneByOne { receivers, seconds } = work.load {
            return self.one_by_one(work, receivers, seconds, on_open);
        }
        let first = if work.load == Load::Idle { FIRST_CLIENTS.min(work.clients / 2) } else { 0 };
        self.connect(work, first, &mut on_open)?;
        let first_bytes = self.server.pss_bytes()?;
        self.connect(work, work.clients, &mut on_open)?;
        if self.is_host {
            self.requests = Some(Requests::start(self.server.address)?);
        }
        match work.load {
            Load::Handshakes => {
                let cpu = self.server.cpu()? - cpu;
                let each = cpu.as_secs_f64() * 1e6 / work.clients as f64;
                Ok([(Figure::CpuPerHandshake, each)].into())
            }
            Load::Idle => {
                let grown = self.server.pss_bytes()?.saturating_sub(first_bytes) as f64;
                let per_client = (Figure::MemoryPerClient, grown / (work.clients - first) as f64);
                Ok([per_client, (Figure::BaseMemory, base_bytes as f64 / 1024.0)].into())
            }
            Load::Pings { seconds } => self.pings(seconds),
            Load::FlatOut { seconds } => {
                self.flow.begin_to_publish()?;
                self.flow.flat_out(seconds * WARM_UP)?;
                self.measure(|flow| flow.flat_out(seconds))
            }
            Load::Paced { per_second, seconds } => self.paced(per_second, seconds),
            Load::Overtaking => self.overtaking(),
            Load::Fairness { seconds } => self.fairness(seconds),
            Load::Resume { returning } => self.resume(returning),
            Load::OneByOne { .. } => Err("it has its own clients".into()),
        }
    }

    /// Connects clients up to the number of `until`; the last of all are those that stall.
    fn connect(&mut self, work: Work, until: usize, on_open: impl FnMut(usize)) -> Result<()> {
        let Flow { swarm, progress, .. } = &mut self.flow;
        // Who asks for nothing gets everything, the quiet publisher's messages too.
        let is_choosy = matches!(work.load, Load::Fairness { .. });
        let query = |_| if is_choosy { format!("?topic={TOPIC}") } else { String::new() };
        swarm.connect(self.server.address, until, STALL, query, progress, on_open)?;
        if until == work.clients {
            swarm.stall(work.stalled)?;
        }
        self.flow.rest()
    }

    fn measure<T: Into<Kept>>(
        &mut self,
        load: impl FnOnce(&mut Flow) -> Result<T>,
    ) -> Result<Figures> {
        let Self { server, flow, requests, .. } = self;
        let answered = || requests.as_ref().map_or(0, Requests::answered);
        flow.progress.begin();
        let (answers, loop_cpu) = (answered(), server.loop_cpu()?);
        let segments = segments_sent()?;
        let (cpu, start) = (server.cpu()?, Instant::now());
        let (deliveries, published) = (flow.progress.deliveries, flow.progress.published());
        let (reads, bytes) = (flow.swarm.reads, flow.swarm.bytes);
        let kept = load(flow)?.into();
        let cpu = (server.cpu()? - cpu).as_secs_f64();
        let seconds = start.elapsed().as_secs_f64();
        let loop_cpu = (server.loop_cpu()? - loop_cpu).as_secs_f64();
        let answers = answered() - answers;
        // A request and its answer are a segment each.
        let segments = (segments_sent()? - segments).saturating_sub(2 * answers) as f64;
        let deliveries = (flow.progress.deliveries - deliveries) as f64;
        let published = (flow.progress.published() - published) as f64;
        if deliveries == 0.0 {
            return Err("nothing was delivered".into());
        }
        let mut figures: Figures = [
            (Figure::CpuPerDelivery, cpu * 1e9 / deliveries),
            (Figure::Deliveries, deliveries / seconds / 1e3),
            (Figure::DeliveriesPerSegment, deliveries / segments.max(1.0)),
            (Figure::DeliveriesPerRead, deliveries / (flow.swarm.reads - reads) as f64),
            (Figure::CpuShare, cpu / seconds * 100.0),
            (Figure::MessageRate, published / seconds),
            (Figure::FrameBytes, (flow.swarm.bytes - bytes) as f64 / deliveries),
        ]
        .into();
        if let Kept(Some(kept)) = kept {
            figures.insert(Figure::RateKept, kept);
        }
        if loop_cpu > 0.0 {
            figures.insert(Figure::ThreadCpuPerDelivery, loop_cpu * 1e9 / deliveries);
        }
        if requests.is_some() {
            let rate = answers as f64 / seconds;
            if rate < RATE_KEPT_MIN * f64::from(requests::PER_SECOND) {
                return Err(format!("the host answered only {rate:.0} requests/s").into());
            }
            figures.insert(Figure::RequestRate, rate);
        }
        Ok(figures)
    }

    fn paced(&mut self, per_second: u32, seconds: f64) -> Result<Figures> {
        self.flow.begin_to_publish()?;
        self.flow.paced(per_second, seconds * WARM_UP)?;
        self.server.reset_peak()?;
        let before = self.server.peak_bytes()?;
        let mut figures = self.measure(|flow| flow.paced(per_second, seconds))?;
        let grown = self.server.peak_bytes()?.saturating_sub(before);
        figures.insert(Figure::MemoryGrowth, grown as f64 / 1024.0);
        figures.extend(self.latencies());
        Ok(figures)
    }

    /// What messages took since the measurement began.
    fn latencies(&self) -> [(Figure, f64); 4] {
        let Latencies { first, last } = &self.flow.progress.latencies;
        [
            (Figure::FirstP50, first, 0.5),
            (Figure::FirstP99, first, 0.99),
            (Figure::LastP50, last, 0.5),
            (Figure::LastP99, last, 0.99),
        ]
        .map(|(figure, histogram, quantile)| {
            (figure, histogram.value_at_quantile(quantile) as f64 / 1e3)
        })
    }
}

/// What remains of the loads, each used by one section.
impl Run {
    /// Idle clients, for long enough that each is pinged some times.
    fn pings(&mut self, seconds: f64) -> Result<Figures> {
        let (cpu, start) = (self.server.cpu()?, Instant::now());
        let end = start + Duration::from_secs_f64(seconds);
        loop {
            let now = Instant::now();
            if now >= end {
                break;
            }
            self.flow.swarm.wait(Some(end - now), &mut self.flow.progress)?;
        }
        let cpu = (self.server.cpu()? - cpu).as_secs_f64();
        let share = cpu / start.elapsed().as_secs_f64() * 100.0;
        Ok([(Figure::PingCpuShare, share * PING_SECONDS / PING_SECONDS_DEFAULT)].into())
    }

    /// Two large messages; the last client sips.
    fn overtaking(&mut self) -> Result<Figures> {
        let Self { server, flow, .. } = self;
        flow.begin_to_publish()?;
        let slow = flow.swarm.len() - 1;
        flow.swarm.read_no_more(slow)?;
        server.reset_peak()?;
        let before = server.peak_bytes()?;
        let start = Instant::now();
        flow.publish(start)?;
        flow.publish(start)?;
        let mut next_sip = start;
        let (mut first_has_second, mut last_has_first) = (None, None);
        while flow.progress.under_way() > 0 {
            if start.elapsed() > OVERTAKING_TIMEOUT {
                return Err("the slow client does not get its messages".into());
            }
            flow.swarm.wait(Some(SIP_INTERVAL), &mut flow.progress)?;
            if Instant::now() >= next_sip {
                flow.swarm.read(slow, SIP_BYTES, &mut flow.progress)?;
                next_sip += SIP_INTERVAL;
            }
            let micros = start.elapsed().as_secs_f64() * 1e6;
            if flow.progress.fastest() == 2 {
                first_has_second.get_or_insert(micros);
            }
            if flow.progress.under_way() < 2 {
                last_has_first.get_or_insert(micros);
            }
        }
        let grown = server.peak_bytes()?.saturating_sub(before) as f64 / 1024.0;
        let (second, first) = first_has_second.zip(last_has_first).ok_or("nobody was served")?;
        Ok([
            (Figure::FirstHasSecond, second),
            (Figure::LastHasFirst, first),
            (Figure::Overtaking, second / first),
            (Figure::MemoryGrowth, grown),
        ]
        .into())
    }

    fn fairness(&mut self, seconds: f64) -> Result<Figures> {
        let quiet = self.quiet.take().ok_or("fairness has a second publisher")?;
        let address = self.server.address;
        let is_alone = self.flow.swarm.len() == 0;
        if !is_alone {
            self.flow.begin_to_publish()?;
        }
        let watch = quiet.start(address, seconds);
        while !is_alone && !watch.is_finished() {
            self.flow.flat_out(0.5)?;
        }
        Ok(watch.join().map_err(|_| "the look at the quiet clients failed")??)
    }

    fn resume(&mut self, returning: usize) -> Result<Figures> {
        let Self { server, flow, .. } = self;
        flow.begin_to_publish()?;
        let known = Known::publish(flow, server.address)?;
        server.reset_peak()?;
        let before = server.peak_bytes()?;
        flow.progress.begin();
        let (cpu, start) = (server.cpu()?, Instant::now());
        let Outcome { rate_kept, caught_up } = known.come_back(flow, server.address, returning)?;
        let cpu = (server.cpu()? - cpu).as_secs_f64() / start.elapsed().as_secs_f64();
        let grown = server.peak_bytes()?.saturating_sub(before) as f64 / 1024.0;
        let mut figures: Figures = [
            (Figure::RateKept, rate_kept),
            (Figure::MemoryGrowth, grown),
            (Figure::CpuShare, cpu * 100.0),
        ]
        .into();
        figures.extend(caught_up.map(|duration| (Figure::CatchUp, duration.as_secs_f64())));
        figures.extend(self.latencies());
        Ok(figures)
    }

    fn one_by_one(
        &mut self,
        work: Work,
        receivers: usize,
        seconds: f64,
        on_open: impl FnMut(usize),
    ) -> Result<Figures> {
        let Self { server, flow: Flow { swarm, publisher, .. }, .. } = self;
        let mut turns = OneByOne::new(receivers);
        swarm.connect(
            server.address,
            work.clients,
            STALL,
            one_by_one::query,
            &mut turns,
            on_open,
        )?;
        turns.begin(swarm, publisher)?;
        turns.run(swarm, publisher, seconds * WARM_UP)?;
        let (cpu, before) = (server.cpu()?, turns.deliveries());
        turns.run(swarm, publisher, seconds)?;
        let deliveries = (turns.deliveries() - before) as f64;
        let cpu = (server.cpu()? - cpu).as_secs_f64();
        Ok([
            (Figure::CpuPerDelivery, cpu * 1e9 / deliveries),
            (Figure::MessageRate, deliveries / seconds),
        ]
        .into())
    }
}

/// What a load says about its rate.
struct Kept(Option<f64>);

impl From<()> for Kept {
    fn from((): ()) -> Self {
        Self(None)
    }
}

impl From<f64> for Kept {
    fn from(kept: f64) -> Self {
        Self(Some(kept))
    }
}

/// TCP segments with data that the system has sent: nearly all of them are a server's, and each is a send of it, or the
/// 64 KiB of one that was larger.
fn segments_sent() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/net/netstat")?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = lines.next().zip(lines.next()).ok_or("netstat without TcpExt")?;
    let mut pairs = names.split(' ').zip(values.split(' '));
    let sent = pairs.find(|(name, _)| *name == "TCPOrigDataSent");
    Ok(sent.ok_or("netstat without TCPOrigDataSent")?.1.parse()?)
}
