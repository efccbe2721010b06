//! A map of services and the edges between them as SVG: who asks stands before who answers.

mod draw;
mod layout;

use std::collections::BTreeMap;

use self::layout::Place;

/// Services that are drawn; those of the busiest edges.
const NODES_MAX: usize = 24;

/// An edge to be drawn. The edges come in the order of their weight.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) from: String,
    pub(crate) to: String,
    /// What stands beside it.
    pub(crate) lines: Vec<String>,
    /// Nothing was asked over it: it is drawn thinner.
    pub(crate) is_quiet: bool,
}

/// Where a fault was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// One service, or the two between which it was.
    pub(crate) services: Vec<String>,
    pub(crate) what: String,
}

/// A map that is laid out.
#[derive(Debug)]
pub(crate) struct Map {
    edges: Vec<Edge>,
    marks: Vec<Mark>,
    places: BTreeMap<String, Place>,
    /// Edges that there was no room for.
    pub(crate) left_out: usize,
}

impl Map {
    pub(crate) fn lay_out(edges: impl Iterator<Item = Edge>, marks: Vec<Mark>) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut left_out = 0;
        let mut kept = Vec::new();
        for edge in edges {
            let new = [&edge.from, &edge.to].into_iter().filter(|name| !names.contains(name));
            let new: Vec<String> = new.cloned().collect();
            if names.len() + new.len() > NODES_MAX {
                left_out += 1;
                continue;
            }
            names.extend(new);
            kept.push(edge);
        }
        names.dedup();
        let places = layout::places(&names, &kept);
        Self { edges: kept, marks, places, left_out }
    }

    /// For a page that is wide: from left to right.
    pub(crate) fn wide(&self) -> String {
        draw::draw(self, true)
    }

    /// For a narrow one: from top to bottom.
    pub(crate) fn narrow(&self) -> String {
        draw::draw(self, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str) -> Edge {
        Edge {
            from: from.to_owned(),
            to: to.to_owned(),
            lines: vec!["10/s → 2/s".to_owned(), "p99 1 ms → 2 s".to_owned()],
            is_quiet: false,
        }
    }

    #[test]
    fn who_asks_stands_before_who_answers_and_a_circle_does_no_harm() {
        let edges =
            [edge("nginx", "api"), edge("api", "db"), edge("nginx", "db"), edge("db", "nginx")];
        let map = Map::lay_out(edges.into_iter(), Vec::new());
        let rank = |name: &str| map.places[name].rank;
        assert_eq!((rank("nginx"), rank("api"), rank("db")), (0, 1, 2));
        assert!(map.wide().contains("<svg") && map.narrow().contains("<svg"));
    }

    #[test]
    fn names_are_text_whatever_is_in_them() {
        let map = Map::lay_out([edge("<b>&\"", "db")].into_iter(), Vec::new());
        let svg = map.wide();
        assert!(svg.contains("&lt;b&gt;&amp;&quot;") && !svg.contains("<b>"), "{svg}");
    }

    #[test]
    fn a_fault_between_two_marks_their_edge_and_one_at_a_service_marks_the_service() {
        let between = Mark {
            services: vec!["api".to_owned(), "db".to_owned()],
            what: "network.partition".to_owned(),
        };
        let at = Mark { services: vec!["db".to_owned()], what: "process.kill".to_owned() };
        let silent = Mark {
            services: vec!["db".to_owned(), "nginx".to_owned()],
            what: "network.latency".to_owned(),
        };
        let edges = [edge("nginx", "api"), edge("api", "db")];
        let svg = Map::lay_out(edges.into_iter(), vec![between, at, silent]).wide();
        assert_eq!(svg.matches("class=\"struck\"").count(), 1, "{svg}");
        for fault in ["network.partition", "process.kill", "network.latency"] {
            assert!(svg.contains(fault), "{fault}");
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let names: Vec<String> = (0..40).map(|n| format!("client-{n}")).collect();
        let map = Map::lay_out(names.iter().map(|name| edge(name, "api")), Vec::new());
        assert_eq!((map.places.len(), map.left_out), (NODES_MAX, 40 - (NODES_MAX - 1)));
    }

    proptest::proptest! {
        #[test]
        fn any_map_can_be_drawn(pairs in proptest::collection::vec((0_u8..12, 0_u8..12), 0..40)) {
            let edges = pairs.iter().map(|(a, b)| edge(&format!("s{a}"), &format!("s{b}")));
            let map = Map::lay_out(edges, Vec::new());
            for svg in [map.wide(), map.narrow()] {
                proptest::prop_assert!(!svg.contains("NaN") && svg.ends_with("</svg>"));
            }
        }
    }
}
