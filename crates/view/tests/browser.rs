//! The page in a real browser: what its addresses show, and that nothing goes wrong meanwhile.
//!
//! Without chromium the tests say so and prove nothing; where `TEMBLOR_NEEDS_CHROMIUM` is set that is
//! an error.

#![expect(clippy::print_stderr, reason = "a test that is skipped says why")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

mod browser {
    pub(crate) mod chromium;
    pub(crate) mod hand;
    pub(crate) mod served;
}

use browser::chromium::{Page, is_there};
use browser::hand::Hand;
use browser::served::{HOSTILE, served};

/// What the address says, and what is then to be seen.
type Check<'of> = (&'of str, &'of dyn Fn(&Page));

/// Opens the page at each of these states, one after the other.
fn pages(checks: &[Check<'_>]) {
    if !is_there() {
        return;
    }
    let server = served();
    for (hash, check) in checks {
        let page = Page::open(server.address(), hash);
        assert_eq!(page.wrong(), Vec::<&str>::new(), "#{hash}");
        assert_eq!(page.attribute("<body", "data-ready"), Some("true"), "#{hash}: {}", page.dom());
        check(&page);
    }
}

fn is_shown(page: &Page, id: &str) -> bool {
    let tag = page.tag(&format!("id=\"{id}\""));
    !tag.contains(" hidden")
}

#[test]
fn the_picture_is_drawn_and_zoomed() {
    pages(&[
        ("", &|page| {
            assert!(is_shown(page, "flame") && !is_shown(page, "table"));
            assert_eq!(page.attribute("<body", "data-boxes"), Some("6"));
            assert_eq!(page.inside("id=\"path\""), "all");
            assert!(page.inside("id=\"details\"").contains("10 (100 %) with all it calls"));
        }),
        ("view=icicle&zoom=3", &|page| {
            assert!(page.tag("data-view=\"icicle\"").contains("aria-pressed=\"true\""));
            assert!(page.inside("id=\"path\"").starts_with("all main"), "{}", page.dom());
            let told = page.inside("id=\"details\"");
            assert!(told.contains("with all it calls"), "{told}");
        }),
        ("zoom=99999&view=nothing&type=77&profile=88&base=99&from=x&to=y", &|page| {
            assert_eq!(page.inside("id=\"path\""), "all", "what cannot be is left out");
        }),
    ]);
}

#[test]
fn what_is_sought_is_told_with_its_share() {
    pages(&[
        ("q=WORK", &|page| assert_eq!(page.inside("id=\"found\""), "60.0 % in 1 functions")),
        ("q=/^(work|idle)$/", &|page| {
            assert_eq!(page.inside("id=\"found\""), "80.0 % in 2 functions");
        }),
        ("q=/(/", &|page| assert_eq!(page.inside("id=\"found\""), "0 % in 0 functions")),
        ("q=nothing", &|page| assert_eq!(page.inside("id=\"found\""), "0 % in 0 functions")),
    ]);
}

#[test]
fn the_table_is_sorted_and_searched() {
    pages(&[
        ("view=table", &|page| {
            let rows = page.rows();
            assert_eq!(rows[0], "Function Flat Flat % Cum Cum %");
            assert_eq!(rows[1], "work 5 50.0 % 6 60.0 %");
            assert!(rows.contains(&"main 0 0 % 10 100 %".to_owned()), "{rows:?}");
        }),
        ("view=table&sort=cum", &|page| assert!(page.rows()[1].starts_with("main 0"))),
        ("view=table&sort=function", &|page| assert!(page.rows()[1].starts_with('<'))),
        ("view=table&sort=flat-up", &|page| assert!(page.rows()[1].contains(" 0 0 % "))),
        ("view=table&q=work", &|page| {
            assert_eq!(page.rows().len(), 2);
            assert!(page.inside("<caption").starts_with("1 of 5 functions"));
        }),
        ("view=table&q=work&zoom=3", &|page| assert!(page.inside("<caption").contains("within"))),
    ]);
}

#[test]
fn callers_and_callees_are_told() {
    pages(&[
        ("view=calls&function=work", &|page| {
            let rows = page.rows();
            assert!(rows.contains(&"main 6 100 %".to_owned()), "{rows:?}");
            assert!(rows.contains(&"read 1 16.7 %".to_owned()), "{rows:?}");
        }),
        // A function that calls itself weighs once, and is not its own caller.
        ("view=calls&function=again&profile=2", &|page| {
            let rows = page.rows();
            assert!(page.inside("class=\"function-name\"").contains("again"));
            assert!(rows.contains(&"start 4 100 %".to_owned()), "{rows:?}");
            assert!(rows.contains(&"leaf 3 75.0 %".to_owned()), "{rows:?}");
            assert!(!rows.iter().any(|row| row.starts_with("again")), "{rows:?}");
        }),
        ("view=calls&function=nobody", &|page| {
            assert_eq!(page.inside("id=\"calls\""), "There is no function nobody here.");
        }),
        ("view=calls", &|page| assert!(page.inside("class=\"function-name\"").contains("work"))),
    ]);
}

#[test]
fn two_profiles_are_compared() {
    pages(&[
        ("profile=1&base=0&view=table&sort=flat-change", &|page| {
            let rows = page.rows();
            assert_eq!(rows[1], "work 9 81.8 % 10 90.9 % +4 (+80.0 %) +4 (+66.7 %)");
            assert!(
                rows.iter().any(|row| row.starts_with("idle 0 0 % 0 0 % -2 (-100 %)")),
                "{rows:?}"
            );
            assert!(is_shown(page, "width-choice"));
        }),
        ("profile=1&base=0", &|page| {
            let told = page.inside("id=\"details\"");
            assert!(told.contains("before 10 (100 %): +1 (+10.0 %)"), "{told}");
        }),
        // What is gone has a width only in what it was before.
        ("profile=1&base=0&width=base", &|page| {
            assert_eq!(page.attribute("<body", "data-boxes"), Some("6"));
        }),
        ("profile=3&base=0", &|page| {
            let told = page.inside("id=\"error\"");
            assert!(told.contains("the profiles count different things"), "{told}");
        }),
    ]);
}

#[test]
fn a_part_of_the_time_is_shown_alone() {
    pages(&[
        ("", &|page| {
            assert!(!is_shown(page, "heat"));
            assert!(page.inside("id=\"untimed\"").contains("temblor profile cpu --timeline"));
            assert!(page.tag("data-view=\"chart\"").contains("disabled"));
        }),
        ("profile=4", &|page| {
            assert!(is_shown(page, "heat") && !is_shown(page, "untimed"));
            assert!(
                page.tag("id=\"heat\"").contains("12 seconds in cells of 20.0 ms"),
                "{}",
                page.dom()
            );
        }),
        ("profile=4&view=table&from=2000000000&to=4000000000", &|page| {
            assert_eq!(page.inside("id=\"when\""), "2 s to 4 s");
            let rows = page.rows();
            assert_eq!(rows[1..], ["late 2 100 % 2 100 %", "main 0 0 % 2 100 %"]);
        }),
        ("profile=4&view=chart", &|page| {
            // All, main twice with a gap between, and whom it called.
            assert_eq!(page.attribute("<body", "data-boxes"), Some("6"));
            let told = page.inside("id=\"details\"");
            assert!(told.contains("from 0 s, for 12.0 s"), "{told}");
        }),
        ("profile=4&from=6000000000&to=7000000000", &|page| {
            assert_eq!(page.inside("id=\"left-out\""), "Nothing was counted here.");
        }),
    ]);
}

#[test]
fn a_function_cannot_become_part_of_the_page() {
    let check = |page: &Page| {
        assert_eq!(page.attribute("<body", "data-hacked"), None);
        assert!(!page.dom().contains(HOSTILE), "it is written as text: {}", page.dom());
    };
    for view in ["flame", "table", "calls&function=%3Cimg", "icicle&zoom=2", "table&q=%3Cimg"] {
        pages(&[(&format!("view={view}"), &check)]);
    }
    pages(&[("view=table", &|page| {
        assert!(page.rows().iter().any(|row| row.starts_with("<img src=x")), "{:?}", page.rows());
    })]);
}

/// Opens the page as whoever sits before it, at a state.
fn by_hand(hash: &str, check: &dyn Fn(&mut Hand)) {
    if !is_there() {
        return;
    }
    let server = served();
    let mut hand = Hand::open(&format!("http://{}/#{hash}", server.address()));
    check(&mut hand);
    assert_eq!(hand.wrong(), Vec::<String>::new());
}

#[test]
fn boxes_are_zoomed_with_the_mouse_and_with_keys() {
    by_hand("view=icicle", &|hand| {
        // The second row is main's; in the third one idle is the second of three by name.
        hand.click("canvas", 0.5, 19 + 9);
        assert_eq!(hand.text("path"), "all main");
        hand.click("canvas", 0.3, 2 * 19 + 9);
        assert_eq!(hand.text("path"), "all main idle");
        assert!(hand.address().contains("zoom="));
        hand.key("Backspace");
        assert_eq!(hand.text("path"), "all main");
        hand.key("ArrowDown");
        assert!(hand.text("details").starts_with("work 6 (60.0 %)"), "{}", hand.text("details"));
        hand.key("ArrowLeft");
        assert!(hand.text("details").starts_with("idle 2 (20.0 %)"), "{}", hand.text("details"));
        hand.key("Enter");
        assert_eq!(hand.text("path"), "all main idle");
        hand.key("Home");
        assert_eq!(hand.text("path"), "all");
        hand.back();
        assert_eq!(hand.text("path"), "all main idle");
    });
}

#[test]
fn what_is_typed_is_sought() {
    by_hand("", &|hand| {
        hand.key("/");
        hand.type_in("work");
        assert_eq!(hand.text("found"), "60.0 % in 1 functions");
        assert!(hand.address().contains("q=work"));
        hand.key("Escape");
        assert_eq!((hand.text("found").as_str(), hand.address().as_str()), ("", ""));
    });
}

#[test]
fn a_part_of_the_time_is_picked_by_dragging() {
    by_hand("profile=4&view=table", &|hand| {
        // Twelve columns of a second: from the third one's first cell to the fourth one's last.
        hand.drag("heat", (2.5 / 12.0, 0.001), (3.5 / 12.0, 0.999));
        assert_eq!(hand.text("when"), "2 s to 4 s");
        assert!(hand.text("table").contains("late 2 100 %"), "{}", hand.text("table"));
        hand.key("Escape");
        assert!(!hand.address().contains("from="), "{}", hand.address());
        assert!(hand.text("table").contains("early 1 25.0 %"), "{}", hand.text("table"));
    });
}

#[test]
fn a_zoom_stays_with_its_call_where_another_profile_is_chosen() {
    // What the other profile has not is left for its caller.
    for (zoom, before, after) in
        [(4, "all main work", "all main work"), (3, "all main idle", "all main")]
    {
        by_hand(&format!("zoom={zoom}"), &|hand| {
            assert_eq!(hand.text("path"), before);
            hand.choose("profile", "1");
            assert_eq!(hand.text("path"), after);
            hand.choose("base", "0");
            assert!(hand.text("details").contains("before"), "{}", hand.text("details"));
        });
    }
}
