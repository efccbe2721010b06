//! Columns as bytes that a browser takes for arrays as they are.
//!
//! First the header's length as four bytes, little end first, then the header as JSON with spaces
//! behind it so that what follows begins at a multiple of eight; then the columns one after the
//! other, the widest figures first, so that each of them stands where its figures may stand.

use serde::Serialize;
use temblor_profile::Columns;

#[derive(Serialize)]
struct Header<'of> {
    calls: usize,
    is_comparison: bool,
    is_chart: bool,
    negative: u64,
    joined_below: u64,
    names: &'of [String],
}

/// The bytes of columns.
pub(crate) fn columns(of: &Columns<'_>) -> serde_json::Result<Vec<u8>> {
    let header = serde_json::to_vec(&Header {
        calls: of.name.len(),
        is_comparison: of.base.is_some(),
        is_chart: of.times.is_some(),
        negative: of.negative,
        joined_below: of.joined_below,
        names: of.names,
    })?;
    let length = (header.len() + 4).next_multiple_of(8) - 4;
    let figures = 1 + usize::from(of.base.is_some()) + 2 * usize::from(of.times.is_some());
    let mut bytes = Vec::with_capacity(4 + length + of.name.len() * (figures * 8 + 6));
    bytes.extend((length as u32).to_le_bytes());
    bytes.extend(&header);
    bytes.resize(4 + length, b' ');
    let mut add = |column: &[u64]| {
        // Figures of the page: exact up to 2^53.
        bytes.extend(column.iter().flat_map(|figure| (*figure as f64).to_le_bytes()));
    };
    add(&of.own);
    if let Some(base) = &of.base {
        add(base);
    }
    if let Some(times) = &of.times {
        add(&times.begins_ns);
        add(&times.lasts_ns);
    }
    bytes.extend(of.name.iter().flat_map(|name| name.to_le_bytes()));
    bytes.extend(of.depth.iter().flat_map(|depth| depth.to_le_bytes()));
    Ok(bytes)
}
