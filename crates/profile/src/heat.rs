//! How much was going on when: a profile's time in cells, each with what its samples weigh.

use crate::calls::CallTree;
use crate::error::Error;

/// Cells that one column has where the time is long enough: what repeats within a second shows as
/// lines, and what happens once as a spot.
const ROWS: u32 = 50;
const COLUMNS_MAX: i64 = 600;
/// With fewer columns there is nothing to see in rows: then it is one strip.
const COLUMNS_MIN: i64 = 8;
/// Of a strip.
const SLICES: i64 = 200;
const SECOND_NS: i64 = 1_000_000_000;
/// How many seconds a column may have, besides a multiple of the last.
const SECONDS: [i64; 8] = [1, 2, 5, 10, 30, 60, 300, 3600];

/// Time from left to right in columns, and within a column from its first row to its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heat {
    /// How long a cell is.
    pub cell_ns: i64,
    /// Cells of a column.
    pub rows: u32,
    /// Columns.
    pub columns: u32,
    /// What each cell weighs, in the order of time.
    pub cells: Vec<u64>,
    /// Samples without a time, which are in no cell.
    pub untimed: usize,
}

impl CallTree {
    /// The cells of one of the types.
    ///
    /// # Errors
    ///
    /// Where there is no such type, or no sample has a time.
    pub fn heat(&self, index: usize) -> Result<Heat, Error> {
        self.known(index)?;
        let last_ns = self.timed(index).map(|(time_ns, ..)| time_ns).max();
        let last_ns = last_ns.ok_or(Error::Untimed)?.max(0);
        // What was collected to the end belongs to the picture, also where nothing ran.
        let whole_ns = self.duration_ns().max(last_ns.saturating_add(1));
        let (cell_ns, rows, columns) = shape(whole_ns);
        let mut heat = Heat {
            cell_ns,
            rows,
            columns: u32::try_from(columns).unwrap_or(0),
            cells: vec![0; columns as usize * rows as usize],
            untimed: self.untimed(),
        };
        for (time_ns, _, weight) in self.timed(index) {
            let cell = usize::try_from(time_ns.div_euclid(cell_ns)).ok();
            if let Some(cell) = cell.and_then(|cell| heat.cells.get_mut(cell)) {
                *cell = cell.saturating_add(weight);
            }
        }
        Ok(heat)
    }
}

/// How long a cell is, and how many rows and columns there are.
fn shape(whole_ns: i64) -> (i64, u32, i64) {
    let seconds = (whole_ns - 1) / SECOND_NS + 1;
    if seconds < COLUMNS_MIN {
        let cell_ns = ((whole_ns - 1) / SLICES + 1).max(1);
        return (cell_ns, 1, (whole_ns - 1) / cell_ns + 1);
    }
    let fits = SECONDS.into_iter().find(|column| seconds <= column * COLUMNS_MAX);
    let hours = (seconds - 1) / (3600 * COLUMNS_MAX) + 1;
    let column_ns = fits.unwrap_or_else(|| hours.saturating_mul(3600)).saturating_mul(SECOND_NS);
    (column_ns / i64::from(ROWS), ROWS, (whole_ns - 1) / column_ns + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_cover_the_time_and_are_bounded() {
        for (whole_ns, expected) in [
            (1, (1, 1, 1)),
            (400, (2, 1, 200)),
            (7 * SECOND_NS, (35_000_000, 1, 200)),
            (30 * SECOND_NS, (20_000_000, ROWS, 30)),
            (30 * SECOND_NS + 1, (20_000_000, ROWS, 31)),
            (3_600 * SECOND_NS, (200_000_000, ROWS, 360)),
            (86_400 * SECOND_NS, (6_000_000_000, ROWS, 288)),
        ] {
            assert_eq!(shape(whole_ns), expected, "{whole_ns}");
        }
        let (cell_ns, rows, columns) = shape(i64::MAX);
        assert!(columns <= COLUMNS_MAX, "{columns}");
        assert!(
            i128::from(cell_ns) * i128::from(rows) * i128::from(columns) >= i128::from(i64::MAX)
        );
    }
}
