//! When days end.

use std::fmt;
use std::str::FromStr;

const SECOND_US: u64 = 1_000_000;
const DAY_US: u64 = 24 * 60 * 60 * SECOND_US;

/// A time of the day, in UTC, at which the exchange's day ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayEnd {
    after_midnight_us: u64,
}

/// A text that is no time of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it looks like 17:00 or 17:00:30, in UTC, and goes from 00:00 to 23:59:59")]
pub struct DayEndError;

impl DayEnd {
    /// The first end of a day after a time, both in microseconds since 1970.
    #[must_use]
    pub fn next_after(self, at_us: u64) -> u64 {
        // Days since the first of these ends; before that, the day before 1970.
        let ends = at_us.checked_sub(self.after_midnight_us).map_or(0, |since| since / DAY_US + 1);
        self.after_midnight_us.saturating_add(ends.saturating_mul(DAY_US))
    }
}

impl FromStr for DayEnd {
    type Err = DayEndError;

    fn from_str(text: &str) -> Result<Self, DayEndError> {
        let mut parts = text.split(':');
        let mut next = |bound: u64, default: Option<u64>| match (parts.next(), default) {
            (None, Some(default)) => Ok(default),
            (Some(part), _) if part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()) => {
                part.parse().ok().filter(|number| *number < bound).ok_or(DayEndError)
            }
            _ => Err(DayEndError),
        };
        let (hours, minutes, seconds) = (next(24, None)?, next(60, None)?, next(60, Some(0))?);
        match parts.next() {
            None => {
                Ok(Self { after_midnight_us: (hours * 3600 + minutes * 60 + seconds) * SECOND_US })
            }
            Some(_) => Err(DayEndError),
        }
    }
}

impl fmt::Display for DayEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.after_midnight_us / SECOND_US;
        write!(f, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_of_the_day_is_read() {
        for (text, told) in
            [("00:00", "00:00:00"), ("17:05:09", "17:05:09"), ("23:59:59", "23:59:59")]
        {
            assert_eq!(text.parse::<DayEnd>().unwrap().to_string(), told);
        }
        for text in [
            "",
            "17",
            "24:00",
            "17:60",
            "17:00:60",
            "7:00",
            "17:0",
            "17:00:00:00",
            "-1:00",
            "+1:00",
        ] {
            assert_eq!(text.parse::<DayEnd>(), Err(DayEndError), "{text}");
        }
    }

    proptest! {
        /// The next end is later, at most a day later, and at the time of the day that was asked for.
        #[test]
        fn the_next_end_is_the_next(second in 0..86_400_u64, at_us in 0..u64::MAX / 2) {
            let time = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
            let next = time.parse::<DayEnd>().unwrap().next_after(at_us);
            prop_assert!(next > at_us && next - at_us <= DAY_US);
            prop_assert_eq!(next % DAY_US, second * SECOND_US);
        }
    }
}
