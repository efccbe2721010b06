//! The table that hands queries and answers to the queues, and counts what became of them. Pure:
//! text out.
//!
//! Each queue has a chain behind it. There a packet that was chosen is known by a mark, is counted
//! by the kernel, and meets its end if it is to have one.

use super::Answer;
use crate::network::partition::comment;

/// On packets of the target's that were chosen, between a queue and the chain behind it.
pub(super) const HIT: u32 = 0x7e3b_1050;
/// On those of our own queries, which do not count.
pub(super) const OWN: u32 = 0x7e3b_1051;
/// Before addresses are translated: a query is known by its port 53, which a translation (as
/// Docker makes for its resolver) may change on the way out.
const EARLY: i32 = -350;

/// A queue, by the chain of the one rule that hands over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Queries, on their way out.
    Queries,
    /// Answers, when they come in.
    Answers,
}

impl Way {
    pub(super) fn chain(self) -> &'static str {
        match self {
            Self::Queries => "queue_queries",
            Self::Answers => "queue_answers",
        }
    }

    fn hook(self) -> &'static str {
        match self {
            Self::Queries => "output",
            Self::Answers => "input",
        }
    }
}

/// The queues that an answer takes, in the order of their numbers.
pub(super) fn ways(answer: Answer) -> &'static [Way] {
    match answer {
        Answer::Drop | Answer::Late(_) => &[Way::Queries],
        Answer::NoSuchName | Answer::ServerFailed | Answer::Refused => {
            &[Way::Queries, Way::Answers]
        }
    }
}

/// What is counted, in the order of the rules' numbers.
pub(super) fn parts(answer: Answer) -> &'static [&'static str] {
    match answer {
        Answer::Drop => &["queries dropped"],
        Answer::Late(_) => &["queries delayed"],
        _ => &["queries over TCP reset", "answers rewritten"],
    }
}

/// The chains that count.
pub(super) fn counting_chains(answer: Answer) -> Vec<String> {
    ways(answer).iter().map(|way| format!("behind_{}", way.hook())).collect()
}

/// The commands that make the table. `queues` are the queues' numbers; none: their chains stay
/// empty, to be filled by other means.
pub(super) fn table(answer: Answer, service: &str, name: &str, queues: Option<&[u16]>) -> String {
    let mut text = format!(
        "table inet {name} {{\n\tflags owner\n\tcomment \"{}\"\n",
        comment(super::NAME, service)
    );
    for (number, &way) in ways(answer).iter().enumerate() {
        let (hook, queue) = (way.hook(), way.chain());
        let handed = match (way, answer) {
            (Way::Answers, _) => "udp sport 53",
            (_, Answer::Drop | Answer::Late(_)) => "meta l4proto { tcp, udp } th dport 53",
            _ => "tcp dport 53",
        };
        let rule = queues
            .and_then(|queues| queues.get(number))
            .map(|queue| format!("\t\tqueue num {queue} bypass\n"))
            .unwrap_or_default();
        text += &format!("\tchain {queue} {{\n{rule}\t}}\n");
        text += &format!(
            "\tchain chosen_{hook} {{\n\t\ttype filter hook {hook} priority {EARLY}; policy \
             accept;\n\t\t{handed} jump {queue}\n\t}}\n"
        );
        let (class, end) = match (way, answer) {
            (Way::Queries, Answer::Drop) => ("", "drop"),
            (Way::Queries, Answer::Late(_)) | (Way::Answers, _) => ("", "meta mark set 0 accept"),
            (Way::Queries, _) => ("meta l4proto tcp ", "reject with tcp reset"),
        };
        text += &format!(
            "\tchain behind_{hook} {{\n\t\ttype filter hook {hook} priority {}; policy \
             accept;\n\t\t{class}meta mark {HIT:#x} counter {end} comment \"part \
             {number}\"\n\t\t{class}meta mark {OWN:#x} {end}\n\t}}\n",
            EARLY + 1
        );
    }
    text + "}\n"
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_part_has_a_rule_and_every_queue_a_chain() {
        for answer in [
            Answer::NoSuchName,
            Answer::ServerFailed,
            Answer::Refused,
            Answer::Drop,
            Answer::Late(Duration::from_millis(1)),
        ] {
            let text = table(answer, "api", "temblor_1_1", Some(&[32_768, 32_769]));
            assert_eq!(text.matches("comment \"part ").count(), parts(answer).len());
            assert_eq!(text.matches("bypass").count(), ways(answer).len());
            assert_eq!(text.matches('{').count(), text.matches('}').count());
            let by_hand = table(answer, "api", "temblor_1_1", None);
            assert_eq!(by_hand.matches("bypass").count(), 0);
        }
    }

    #[test]
    fn answers_are_rewritten_and_queries_over_tcp_are_reset() {
        let text = table(Answer::Refused, "api", "temblor_1_1", Some(&[32_768, 32_769]));
        for line in [
            "\t\ttcp dport 53 jump queue_queries\n",
            "\t\tqueue num 32768 bypass\n",
            "\t\tmeta l4proto tcp meta mark 0x7e3b1050 counter reject with tcp reset comment \"part 0\"\n",
            "\t\ttype filter hook input priority -350; policy accept;\n\t\tudp sport 53 jump queue_answers\n",
            "\t\tmeta mark 0x7e3b1050 counter meta mark set 0 accept comment \"part 1\"\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
