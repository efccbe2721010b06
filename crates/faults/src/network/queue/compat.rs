//! The rule that hands packets to a queue, for kernels whose nftables has no word for it.
//!
//! nftables' `queue` statement wants CONFIG_NFT_QUEUE. Where that is missing the target of
//! iptables does the same, through nftables' layer for such targets (CONFIG_NFT_COMPAT); nft
//! itself can show such a rule but cannot make it. So this one rule is written by hand, on the
//! socket that owns the table, since nobody else may add to it.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::message::{Message, messages};
use crate::{Error, Result};

/// `linux/netfilter/nf_tables.h` and `nf_tables_compat.h`.
const NEW_RULE: i32 = 6;
const RULE_TABLE: i32 = 1;
const RULE_CHAIN: i32 = 2;
const RULE_EXPRESSIONS: i32 = 4;
const LIST_ELEMENT: i32 = 1;
const EXPRESSION_NAME: i32 = 1;
const EXPRESSION_DATA: i32 = 2;
const TARGET_NAME: i32 = 1;
const TARGET_REVISION: i32 = 2;
const TARGET_INFO: i32 = 3;
/// The family of tables for both IPv4 and IPv6.
const INET: i32 = 1;
/// The revision of the target whose last word is flags.
const REVISION: u32 = 3;
/// Packets pass when nobody is at the queue's other end.
const BYPASS: u16 = 1;
/// Kernels answer at once; this only bounds a wait that should not be.
const ANSWER_SECONDS_MAX: i64 = 5;

/// Appends to a chain of an `inet` table the rule that hands every packet to a queue.
pub(in crate::network) fn add_rule(
    owner: BorrowedFd<'_>,
    table: &str,
    chain: &str,
    queue: u16,
) -> Result<()> {
    let refused = |source: Errno| {
        let doing = "add a rule with the iptables target NFQUEUE to an nftables table";
        match source {
            Errno::NOENT | Errno::OPNOTSUPP => Error::Missing {
                what: "rules that hand packets to a program, in the kernel".into(),
                how: format!(
                    "load the module (modprobe nft_queue, or nft_compat with xt_NFQUEUE), or boot \
                     a kernel with CONFIG_NFT_QUEUE ({source})"
                ),
            },
            _ => Error::system(doing, source),
        }
    };
    const SEQUENCE: u32 = 0x7e3b_1042;
    let bytes = batch(table, chain, queue, SEQUENCE);
    send(owner, &bytes, SendFlags::empty()).map_err(refused)?;
    let bound = Timespec { tv_sec: ANSWER_SECONDS_MAX, tv_nsec: 0 };
    let mut buffer = [0; 8192];
    loop {
        let mut wait = [PollFd::new(&owner, PollFlags::IN)];
        if poll(&mut wait, Some(&bound)).map_err(refused)? == 0 {
            return Err(refused(Errno::TIMEDOUT));
        }
        let (length, _) = recv(owner, &mut buffer[..], RecvFlags::empty()).map_err(refused)?;
        for answer in messages(&buffer[..length]).filter(|answer| answer.sequence == SEQUENCE) {
            match answer.error() {
                None => {}
                Some(0) => return Ok(()),
                Some(code) => return Err(refused(Errno::from_raw_os_error(-code))),
            }
        }
    }
}

/// The transaction. Its frame has another sequence number than the rule, whose answer is waited
/// for.
fn batch(table: &str, chain: &str, queue: u16, sequence: u32) -> Vec<u8> {
    let frame = |kind| {
        // The frame is a message of no subsystem; the number says for whom it is.
        let request = libc::NLM_F_REQUEST;
        Message::new(0, kind, request, 0, libc::NFNL_SUBSYS_NFTABLES as u16)
            .finish(sequence.wrapping_sub(1))
    };
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_CREATE | libc::NLM_F_APPEND | libc::NLM_F_ACK;
    let rule = Message::new(libc::NFNL_SUBSYS_NFTABLES, NEW_RULE, flags, INET, 0)
        .text(RULE_TABLE, table)
        .text(RULE_CHAIN, chain)
        .nest(RULE_EXPRESSIONS, |list| {
            list.nest(LIST_ELEMENT, |expression| {
                expression.text(EXPRESSION_NAME, "target").nest(EXPRESSION_DATA, |target| {
                    target
                        .text(TARGET_NAME, "NFQUEUE")
                        .attribute(TARGET_REVISION, &REVISION.to_be_bytes())
                        .attribute(TARGET_INFO, &info(queue))
                })
            })
        });
    [frame(libc::NFNL_MSG_BATCH_BEGIN), rule.finish(sequence), frame(libc::NFNL_MSG_BATCH_END)]
        .concat()
}

/// `struct xt_NFQ_info_v3`: the first queue, how many, and flags; then what makes it a multiple
/// of eight bytes, as all such structures are.
fn info(queue: u16) -> [u8; 8] {
    let mut info = [0; 8];
    for (place, word) in info.chunks_exact_mut(2).zip([queue, 1, BYPASS]) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_one_transaction() {
        let bytes = batch("temblor_1_1", "slow_out", 0x8001, 5);
        let messages: Vec<_> = messages(&bytes).collect();
        let kinds: Vec<u16> = messages.iter().map(|message| message.kind).collect();
        assert_eq!(kinds, [0x10, 10 << 8 | 6, 0x11]);
        assert_eq!(messages.iter().map(|m| m.sequence).collect::<Vec<_>>(), [4, 5, 4]);
        assert_eq!(messages[0].number(), Some(10));
        let attributes: Vec<_> = messages[1].attributes().take(2).collect();
        assert_eq!(attributes, [(1, &b"temblor_1_1\0"[..]), (2, &b"slow_out\0"[..])]);
        assert_eq!(messages[1].attributes().map(|(kind, _)| kind).collect::<Vec<_>>(), [1, 2, 4]);
        let target = b"NFQUEUE\0";
        assert!(bytes.windows(target.len()).any(|window| window == target));
        let info = [0x8001_u16, 1, 1, 0].map(u16::to_ne_bytes).concat();
        assert!(bytes.windows(8).any(|window| window == info));
    }
}
