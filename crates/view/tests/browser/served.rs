//! A server with the profiles that the tests look at.

use std::net::TcpListener;

use temblor_http::Server;
use temblor_profile::{Builder, CallTree, Label, LabelValue, Profile, ValueType, folded};
use temblor_view::{Views, serve};

/// A function's name that would be a part of the page if it were not written as text.
pub(crate) const HOSTILE: &str = "<img src=x onerror=document.body.dataset.hacked=1>";

fn of(stacks: &str, kind: &str, unit: &str) -> CallTree {
    CallTree::of(&folded::read(stacks.as_bytes(), ValueType::new(kind, unit)).unwrap())
}

/// Samples at these seconds.
fn timed(samples: &[(&str, i64)]) -> Profile {
    let mut builder = Builder::new(vec![ValueType::new("samples", "count")]);
    for (stack, second) in samples {
        let stack = stack.rsplit(';').map(|name| builder.named(name)).collect();
        let value = LabelValue::Figure(second * 1_000_000_000, "nanoseconds".into());
        builder.sample(stack, &[1], vec![Label { key: "time".into(), value }]);
    }
    builder.about().duration_ns = 12_000_000_000;
    builder.finish()
}

pub(crate) fn served() -> Server {
    let before = format!("main;work 5\nmain;work;read 1\nmain;idle 2\nmain;{HOSTILE} 2\n");
    let after = format!("main;work 9\nmain;work;read 1\nmain;{HOSTILE} 1\n");
    let mut views = Views::new();
    for (name, tree) in [
        ("before", of(&before, "samples", "count")),
        ("after", of(&after, "samples", "count")),
        ("recursive", of("start;again;again;leaf 3\nstart;again 1\n", "samples", "count")),
        ("space", of("main 7\n", "space", "bytes")),
        (
            "timed",
            CallTree::of(&timed(&[
                ("main;early", 0),
                ("main;late", 2),
                ("main;late", 3),
                ("main;last", 11),
            ])),
        ),
    ] {
        views.add(name.to_owned(), tree, 0);
    }
    serve(TcpListener::bind("127.0.0.1:0").unwrap(), views).unwrap()
}
