//! Where each service stands: in ranks, by the longest way from one whom nobody asks.

use std::collections::BTreeMap;

use super::Edge;

/// A service's place: its rank, and its number within the rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) rank: usize,
    pub(super) at: usize,
    /// Services of this rank.
    pub(super) of: usize,
}

pub(super) fn places(names: &[String], edges: &[Edge]) -> BTreeMap<String, Place> {
    let number = |name: &str| names.iter().position(|one| one == name);
    let pairs: Vec<(usize, usize)> =
        edges.iter().filter_map(|edge| Some((number(&edge.from)?, number(&edge.to)?))).collect();
    let forward = without_circles(names.len(), &pairs);
    let mut ranks = vec![0; names.len()];
    // A way has fewer steps than there are services.
    for _ in 0..names.len() {
        for (from, to) in &forward {
            ranks[*to] = ranks[*to].max(ranks[*from] + 1);
        }
    }
    let ranks_max = ranks.iter().copied().max().unwrap_or(0);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); ranks_max + 1];
    for (service, rank) in ranks.iter().enumerate() {
        rows[*rank].push(service);
    }
    // Each beside those that ask it: the mean place of the rank before, a few times over.
    let mut at: Vec<f64> = vec![0.0; names.len()];
    for row in &mut rows {
        #[expect(clippy::cast_precision_loss, reason = "a few services")]
        let mean = |service: usize, at: &[f64]| {
            let asks = forward.iter().filter(|(_, to)| *to == service).map(|(from, _)| at[*from]);
            let asks: Vec<f64> = asks.collect();
            if asks.is_empty() { f64::MAX } else { asks.iter().sum::<f64>() / asks.len() as f64 }
        };
        row.sort_by(|a, b| mean(*a, &at).total_cmp(&mean(*b, &at)).then(a.cmp(b)));
        #[expect(clippy::cast_precision_loss, reason = "a few services")]
        for (place, service) in row.iter().enumerate() {
            at[*service] = (place as f64 + 0.5) / row.len() as f64;
        }
    }
    let mut places = BTreeMap::new();
    for (rank, row) in rows.iter().enumerate() {
        for (at, service) in row.iter().enumerate() {
            places.insert(names[*service].clone(), Place { rank, at, of: row.len() });
        }
    }
    places
}

/// The edges that do not lead back to where a way came from, in the order of their weight: the
/// heavier edge of a circle stays.
fn without_circles(services: usize, pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut kept: Vec<(usize, usize)> = Vec::new();
    for (from, to) in pairs {
        if from != to && !leads_to(services, &kept, *to, *from) {
            kept.push((*from, *to));
        }
    }
    kept
}

fn leads_to(services: usize, pairs: &[(usize, usize)], from: usize, to: usize) -> bool {
    let mut reached = vec![false; services];
    let mut next = vec![from];
    while let Some(service) = next.pop() {
        if service == to {
            return true;
        }
        if std::mem::replace(&mut reached[service], true) {
            continue;
        }
        next.extend(pairs.iter().filter(|(from, _)| *from == service).map(|(_, to)| *to));
    }
    false
}
