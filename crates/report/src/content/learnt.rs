//! What was to be learnt, with what the evidence says: the questions are the experiment's, the
//! sentences the judge's.

use temblor_judge::RunResult;

use crate::document::{Block, Section};

/// None: the experiment asks nothing.
pub(super) fn section(result: &RunResult) -> Option<Section> {
    let questions = result.answers.iter();
    let blocks: Vec<Block> = questions
        .map(|answer| Block::List { head: answer.question.clone(), items: answer.found.clone() })
        .collect();
    (!blocks.is_empty()).then_some(Section { id: "learnt", title: "What was to be learnt", blocks })
}
