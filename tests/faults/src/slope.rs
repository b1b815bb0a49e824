//! Lines through samples.

/// The slope of the line that fits points best, by least squares; 0 of fewer than two points.
#[must_use]
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let across = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>();
    let along = points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>();
    if along > 0.0 { across / along } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_their_slope_and_noise_none() {
        let line: Vec<_> = (0..100).map(|x| (f64::from(x), 3.0 + 0.25 * f64::from(x))).collect();
        assert!((slope(&line) - 0.25).abs() < 1e-9);
        let noise: Vec<_> = (0..1_000).map(|x| (f64::from(x), if x % 2 == 0 { 5.0 } else { 7.0 })).collect();
        assert!(slope(&noise).abs() < 1e-3);
        let both: Vec<_> = line.iter().zip(&noise).map(|(a, b)| (a.0, a.1 + b.1)).collect();
        assert!((slope(&both) - 0.25).abs() < 1e-2);
        assert_eq!(slope(&[]), 0.0);
        assert_eq!(slope(&[(1.0, 2.0)]), 0.0);
    }
}
