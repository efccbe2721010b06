//! What nft lists: counters of ours, and tables of ours that nobody should find any more.

use std::path::Path;

use temblor_host::netns::Netns;

use super::library::Context;
use super::owned::is_active;
use crate::{Error, Result};

/// What a rule's counter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counter {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// The counters of the rules that carry the comment `part <n>`, for n from 0 to `parts`. None
/// if one is missing: then the listing is not of the table we made.
pub(crate) fn counters(listing: &str, parts: usize) -> Option<Vec<Counter>> {
    let mut found = vec![None; parts];
    for line in listing.lines() {
        let Some((_, comment)) = line.split_once("comment \"part ") else { continue };
        let Some(slot) = comment
            .split_once('"')
            .and_then(|(number, _)| number.parse::<usize>().ok())
            .and_then(|number| found.get_mut(number))
        else {
            continue;
        };
        *slot = counter(line);
    }
    found.into_iter().collect()
}

fn counter(rule: &str) -> Option<Counter> {
    let (_, after) = rule.split_once("counter packets ")?;
    let mut words = after.split_ascii_whitespace();
    let packets = words.next()?.parse().ok()?;
    (words.next()? == "bytes").then_some(())?;
    Some(Counter { packets, bytes: words.next()?.parse().ok()? })
}

/// A chain of an `inet` table in the namespace of the calling thread, as nft lists it.
pub(crate) fn chain_here(table: &str, chain: &str) -> Result<String> {
    Context::new()?.run(&format!("list chain inet {table} {chain}")).map_err(|said| {
        Error::Nftables { doing: format!("read the counters of the nftables table {table}"), said }
    })
}

/// The names of the `inet` tables in a namespace that begin like ours.
pub(crate) fn our_tables(netns: &Netns) -> Result<Vec<String>> {
    in_namespace(netns, list_ours)
}

/// What of ours is still in a namespace though nobody means it to be there: tables named
/// `temblor_…` that have no owner, whose maker is dead, or that this process believes it has
/// undone. A table that another live process holds is not among them.
///
/// # Errors
/// The namespace cannot be entered or asked.
pub fn leftovers(netns: &Netns) -> Result<Vec<String>> {
    in_namespace(netns, |nft| {
        let mut left = Vec::new();
        for name in list_ours(nft)? {
            // It may vanish between the two commands, and then it is not left.
            let Ok(listing) = nft.run(&format!("list table inet {name}")) else { continue };
            if !is_held(&name, &listing) {
                left.push(format!("table inet {name}"));
            }
        }
        Ok(left)
    })
}

fn in_namespace<T: Send>(
    netns: &Netns,
    work: impl FnOnce(&mut Context) -> Result<T> + Send,
) -> Result<T> {
    netns
        .run(|| Context::new().and_then(|mut nft| work(&mut nft)))
        .map_err(|e| Error::system(format!("enter the network namespace {}", netns.inode()), e))?
}

fn list_ours(nft: &mut Context) -> Result<Vec<String>> {
    let listing = nft
        .run("list tables inet")
        .map_err(|said| Error::Nftables { doing: "list the nftables tables".into(), said })?;
    Ok(ours(&listing))
}

fn ours(listing: &str) -> Vec<String> {
    listing
        .lines()
        .filter_map(|line| line.strip_prefix("table inet "))
        .filter_map(|rest| rest.split_ascii_whitespace().next())
        .filter(|name| name.starts_with("temblor_"))
        .map(str::to_owned)
        .collect()
}

/// Whether somebody alive means this table to be there.
fn is_held(name: &str, listing: &str) -> bool {
    if !listing.lines().any(|line| line.trim().starts_with("flags ") && line.contains("owner")) {
        return false;
    }
    match maker(name) {
        Some(pid) if pid == std::process::id() => is_active(name),
        Some(pid) => Path::new(&format!("/proc/{pid}")).exists(),
        None => false,
    }
}

/// The process that a table's name says made it.
fn maker(name: &str) -> Option<u32> {
    let (pid, number) = name.strip_prefix("temblor_")?.split_once('_')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = r#"table inet temblor_7_1 { # progname temblor
	flags owner
	comment "part 9 of something"

	chain out {
		type route hook output priority 350; policy accept;
		oifname "lo" accept
		ip daddr 10.0.0.5 tcp dport 5432 counter packets 12 bytes 3456 drop comment "part 1"
		ip daddr 10.0.0.6 counter packets 18446744073709551615 bytes 0 drop comment "part 0"
	}
}
"#;

    #[test]
    fn counters_are_found_by_their_rules_comment() {
        assert_eq!(
            counters(LISTING, 2),
            Some(vec![
                Counter { packets: u64::MAX, bytes: 0 },
                Counter { packets: 12, bytes: 3456 },
            ])
        );
        assert_eq!(counters(LISTING, 3), None, "a missing rule is not a zero");
        assert_eq!(counters("", 1), None);
        assert_eq!(counters("", 0), Some(vec![]));
    }

    #[test]
    fn a_counter_that_is_not_one_is_not_read_as_zero() {
        for rule in [
            "drop comment \"part 0\"",
            "counter packets x bytes 1 comment \"part 0\"",
            "counter packets 1 comment \"part 0\"",
        ] {
            assert_eq!(counters(rule, 1), None, "{rule}");
        }
    }

    #[test]
    fn only_tables_named_like_ours_are_ours() {
        let listing = "table inet filter\ntable inet temblor_1_2\ntable ip temblor_3_4\n";
        assert_eq!(ours(listing), ["temblor_1_2"]);
    }

    #[test]
    fn a_table_is_held_only_by_somebody_alive() {
        let own = std::process::id();
        assert!(is_held("temblor_1_1", LISTING), "process 1 lives");
        assert!(!is_held("temblor_1_1", &LISTING.replace("flags owner", "")), "nobody owns it");
        assert!(!is_held("temblor_4294967294_1", LISTING), "no such process");
        assert!(!is_held(&format!("temblor_{own}_0"), LISTING), "not one that we know of");
        assert!(!is_held("temblor_x", LISTING));
    }
}
