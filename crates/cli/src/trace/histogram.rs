//! A histogram drawn with the eighths of a block: one row for each doubling.

use temblor_event::Buckets;
use temblor_judge::human;

/// More doublings than this share rows.
const ROWS_MAX: u32 = 20;
/// `409.6 µs – 819.2 µs  `, as wide as it gets.
const LABEL: usize = 19;
const BAR_MIN: usize = 8;
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Draws counts of lengths of time that are given in this share of a second (`1e-9` for
/// nanoseconds), in at most `width` columns.
pub(super) fn draw(buckets: &Buckets, seconds: f64, width: usize) -> Vec<String> {
    let doubling = |value: u64| value.max(1).ilog2();
    let (mut first, mut last) = (u32::MAX, 0);
    for (value, _) in buckets.iter() {
        (first, last) = (first.min(doubling(value)), last.max(doubling(value)));
    }
    if buckets.is_empty() {
        return Vec::new();
    }
    let step = (last - first + 1).div_ceil(ROWS_MAX);
    let row = |value: u64| (doubling(value) - first) / step;
    let mut counts = vec![0_u64; row(1 << last) as usize + 1];
    for (value, count) in buckets.iter() {
        let of_row = &mut counts[row(value) as usize];
        *of_row = of_row.saturating_add(count);
    }
    let most = counts.iter().copied().max().unwrap_or(1);
    let digits = human::count(most).chars().count();
    let bar = width.saturating_sub(LABEL + 2 + 2 + digits).clamp(BAR_MIN, 60);
    (first..)
        .step_by(step as usize)
        .zip(&counts)
        .map(|(exponent, count)| {
            let (from, below) = (bound(exponent, seconds), bound(exponent + step, seconds));
            let drawn = drawn(*count, most, bar);
            let from = if exponent == 0 { "0 s".to_owned() } else { from };
            format!("{from:>8} – {below:>8}  {drawn:<bar$}  {:>digits$}", human::count(*count))
        })
        .collect()
}

fn bound(exponent: u32, seconds: f64) -> String {
    human::duration(2_f64.powi(i32::try_from(exponent).unwrap_or(i32::MAX)) * seconds)
}

/// A bar as long as the share; whatever is more than nothing is seen.
fn drawn(count: u64, most: u64, columns: usize) -> String {
    let eighths = u128::from(count) * (columns as u128) * 8;
    let eighths = usize::try_from(eighths.div_ceil(u128::from(most.max(1)))).unwrap_or(0);
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8 - 1]);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket_of(value: u64) -> u16 {
        (0..544).find(|bucket| Buckets::upper_bound(*bucket) >= value).unwrap_or(543)
    }

    fn of(samples: &[(u64, u64)]) -> Buckets {
        let counts: Vec<(u16, u64)> =
            samples.iter().map(|(value, count)| (bucket_of(*value), *count)).collect();
        counts.into()
    }

    #[test]
    fn each_doubling_has_a_row_also_an_empty_one() {
        let drawn = draw(&of(&[(1_100, 8), (2_000, 8), (9_000, 1)]), 1e-9, 53);
        let expected =
            ["    1 µs –   2 µs", "    2 µs – 4.1 µs", "  4.1 µs – 8.2 µs", "  8.2 µs –  16 µs"];
        assert_eq!(drawn.len(), expected.len(), "{drawn:#?}");
        assert!(drawn[0].ends_with(&format!("{}  16", "█".repeat(28))), "{drawn:#?}");
        assert!(drawn[1].ends_with(" 0") && drawn[3].contains('█'), "{drawn:#?}");
    }

    #[test]
    fn it_fits_whatever_is_in_it() {
        let everything: Vec<(u64, u64)> = (0..37).map(|e| (1 << e, u64::MAX >> e)).collect();
        for samples in [&everything[..], &[(0, 1)], &[(u64::MAX, 3)]] {
            for width in [60, 80, 200] {
                let drawn = draw(&of(samples), 1e-9, width);
                assert!(drawn.len() <= 20, "{drawn:#?}");
                assert!(drawn.iter().all(|line| line.chars().count() <= width), "{drawn:#?}");
            }
        }
        assert_eq!(draw(&Buckets::default(), 1e-9, 80), [""; 0]);
    }
}
