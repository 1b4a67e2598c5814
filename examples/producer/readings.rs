//! Made-up readings of weather stations. Knows no sockets.

use std::f64::consts::TAU;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::fan_in::Feeder;
use crate::pace::Pace;

const CITIES: [&str; 8] = ["oslo", "lima", "kyoto", "cairo", "lagos", "perth", "hanoi", "quito"];

/// Publishes the readings of every station that is this thread's, in turn.
pub(crate) fn publish(topics: &[(usize, Vec<u8>)], size: usize, feeder: &Feeder, pace: &Pace) {
    let mut body = String::new();
    for (station, topic) in topics.iter().cycle() {
        let Some(number) = pace.next() else { return };
        write_reading(&mut body, *station, number, size);
        if !feeder.send(topic, body.as_bytes()) {
            return;
        }
    }
}

/// The names of so many stations, or those in a comma-separated list.
///
/// # Errors
///
/// One sentence.
pub(crate) fn stations(text: &str) -> Result<Box<[String]>, String> {
    let name = |station: usize| match CITIES.get(station) {
        Some(city) => format!("weather.{city}"),
        None => format!("weather.station-{}", station + 1),
    };
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok((0..count).map(name).collect()),
        Ok(_) => Err("between 1 and 1000000 topics".to_owned()),
        Err(_) => Ok(text.split(',').map(str::to_owned).collect()),
    }
}

/// One reading in JSON, smooth over time and different for each station, padded to `size`.
fn write_reading(body: &mut String, station: usize, seq: u64, size: usize) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (minute, phase) = (now.as_secs_f64() / 60.0, station as f64 / 7.0);
    let wave = |minutes: f64| ((minute / minutes + phase) * TAU).sin();
    let wind = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"][((wave(5.0) + 1.0) * 3.99) as usize];

    body.clear();
    let _ = write!(
        body,
        r#"{{"seq":{seq},"time_ms":{},"temperature":{:.1},"humidity":{:.0},"wind":{{"speed":{:.1},"from":"{wind}"}}}}"#,
        now.as_millis(),
        12.0 + 9.0 * wave(3.0) + (station % 5) as f64,
        60.0 - 25.0 * wave(4.0),
        6.0 + 5.0 * wave(1.0),
    );
    if let Some(dots) = size.checked_sub(body.len() + r#","pad":"""#.len()) {
        body.pop();
        let _ = write!(body, r#","pad":"{}"}}"#, ".".repeat(dots));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_json_of_the_size_that_is_asked_for() {
        let mut body = String::new();
        for size in [0, 60, 200, 5000] {
            write_reading(&mut body, 12, 7, size);
            let reading: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(reading["seq"], 7);
            assert!(body.len() >= size && (size < 200 || body.len() == size), "{}", body.len());
        }
    }

    #[test]
    fn stations_are_counted_or_named() {
        assert_eq!(*stations("2").unwrap(), ["weather.oslo", "weather.lima"]);
        assert_eq!(stations("9").unwrap()[8], "weather.station-9");
        assert_eq!(*stations("a,b").unwrap(), ["a", "b"]);
        assert!(stations("0").is_err());
    }
}
