//! One writer process of the demo: records simulated results until its standard
//! input ends, and obeys the orders that arrive there.

use std::fmt;
use std::io::BufRead;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::simulation::Simulation;
use crate::store::format::heartbeat::InFlight;
use crate::store::write::writer::{Writer, WriterOptions};
use crate::store::{Record, Result, Store};

/// After how long a rate-limited model is first tried again, and at most: its runner backs off.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// How often a runner asks again before it gives a test up.
const TRIES: u32 = 4;
/// Tests that the session means to run.
const PLAN: u64 = 2_000;

/// The test that a result will be of.
fn in_flight(record: &Record) -> InFlight {
    InFlight {
        model: record.model.clone(),
        test_id: record.test_id.clone(),
        task_id: record.task_id.clone(),
        trial: record.trial,
        since: Timestamp::now().as_microsecond(),
        retries: 0,
    }
}

/// What the story sends a writer, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Publish what the journal holds as an increment now.
    Publish,
    /// This model's provider answers HTTP 429 from now on.
    Limit(String),
    /// It answers as before.
    Lift,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish => f.write_str("publish"),
            Self::Limit(model) => write!(f, "limit {model}"),
            Self::Lift => f.write_str("lift"),
        }
    }
}

impl Order {
    fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ') {
            None if line == "publish" => Some(Self::Publish),
            None if line == "lift" => Some(Self::Lift),
            Some(("limit", model)) => Some(Self::Limit(model.to_owned())),
            _ => None,
        }
    }
}

/// Records results into `store`, `speed` times as fast as life, until standard input ends.
pub fn run(store: &Store, index: u64, speed: f64, seed: u64) -> Result<()> {
    let orders = listen();
    let mut writer = Writer::open(store, WriterOptions::default())?;
    let mut simulation = Simulation::new(seed.wrapping_add(1_000), index);
    let mut limited: Option<(String, Instant, Duration)> = None;
    writer
        .live()
        .plan(PLAN, Some(simulation.session().to_owned()));
    let (mut pending, duration) = simulation.next(Timestamp::now());
    writer.live().begin(in_flight(&pending));
    // Not all at once: each writer starts somewhere in its first test.
    let mut due = Instant::now() + duration.div_f64(speed).mul_f64((index as f64 + 0.5) / 8.0);
    loop {
        let next = limited.as_ref().map_or(due, |(_, at, _)| due.min(*at));
        match orders.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Order::Publish) => writer.publish()?,
            Ok(Order::Limit(model)) => {
                simulation.limit(&model);
                limited = Some((model, Instant::now(), RETRY.0));
            }
            Ok(Order::Lift) => {
                simulation.lift();
                limited = None;
            }
            Err(RecvTimeoutError::Disconnected) => return writer.close(),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = Instant::now();
        if let Some((model, at, wait)) = &mut limited
            && *at <= now
        {
            let turned_away = simulation.rate_limited(model, Timestamp::now());
            let test = in_flight(&turned_away);
            let waited = wait.as_secs_f64();
            for _ in 0..TRIES {
                writer.live().retry(
                    &test,
                    Some(429),
                    waited / f64::from(TRIES),
                    Timestamp::now(),
                );
            }
            writer.append(turned_away).map(drop)?;
            *at = now + *wait;
            *wait = (*wait * 2).min(RETRY.1);
        }
        if due <= now {
            pending.timestamp = Some(Timestamp::now().as_microsecond());
            let (next, duration) = simulation.next(Timestamp::now());
            writer.append(std::mem::replace(&mut pending, next))?;
            writer.live().begin(in_flight(&pending));
            due = now + duration.div_f64(speed);
        }
    }
}

/// Orders from standard input; the channel closes with it.
fn listen() -> Receiver<Order> {
    let (send, orders) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if let Some(order) = Order::parse(&line)
                && send.send(order).is_err()
            {
                break;
            }
        }
    });
    orders
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn orders_survive_their_own_text() {
        for order in [
            Order::Publish,
            Order::Limit("a model, with spaces".into()),
            Order::Lift,
        ] {
            assert_eq!(Order::parse(&order.to_string()), Some(order));
        }
        assert_eq!(Order::parse("dance"), None);
    }
}
