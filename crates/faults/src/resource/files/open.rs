//! What a process has open, held against a limit.

use std::fs;
use std::io;

/// The numbers of a process's open descriptors, in order.
pub(super) fn descriptors(pid: u32) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = fs::read_dir(format!("/proc/{pid}/fd"))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// How many more can be opened under a limit. The limit bounds the descriptor's number, not how
/// many there are, and a new one gets the lowest number that is free.
pub(super) fn left(open: &[u64], limit: u64) -> u64 {
    limit.saturating_sub(open.partition_point(|number| *number < limit) as u64)
}

/// The limit under which so many more can be opened; of several, the highest.
pub(super) fn limit_that_leaves(open: &[u64], spare: u64) -> u64 {
    // Each descriptor with a number below the limit takes a place there, and each such place
    // raises the limit by one, which may take in the next.
    let mut limit = spare;
    for number in open {
        if *number > limit {
            break;
        }
        limit += 1;
    }
    limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_found_in_spite_of_gaps() {
        for (open, spare, limit) in [
            (&[][..], 0, 0),
            (&[], 5, 5),
            (&[0, 1, 2], 0, 3),
            (&[0, 1, 2], 4, 7),
            (&[0, 1, 2, 9], 0, 3),
            (&[0, 1, 2, 5], 2, 6),
            (&[0, 1, 2, 5], 3, 7),
            (&[0, 2, 4, 6], 2, 5),
            (&[100], 50, 50),
        ] {
            let found = limit_that_leaves(open, spare);
            assert_eq!(left(open, found), spare, "{open:?} {spare}");
            assert_eq!(found, limit, "{open:?} {spare}");
        }
    }

    #[test]
    fn our_own_descriptors_are_seen() {
        let before = descriptors(std::process::id()).unwrap();
        assert!(before.len() >= 3 && before.is_sorted());
    }
}
