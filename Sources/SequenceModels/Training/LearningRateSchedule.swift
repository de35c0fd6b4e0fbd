#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// How the learning rate goes over a run, as a factor of its peak.
public enum LearningRateSchedule: String, Sendable, Hashable, Codable, CaseIterable {
    /// The peak throughout.
    case constant
    /// Up in a straight line over the first steps, then down along half a cosine to a tenth of the peak.
    ///
    /// Loshchilov and Hutter, "SGDR", 2017 (arXiv:1608.03983), equation 5, without restarts.
    case cosine
    /// Up from a 25th of the peak along half a cosine over 30 % of the run, then down to a 250,000th.
    ///
    /// Smith and Topin, "Super-Convergence", 2018 (arXiv:1708.07120), as PyTorch's `OneCycleLR` shapes it.
    case oneCycle = "one-cycle"

    /// Returns the factor at a place of the run.
    ///
    /// - Parameters:
    ///   - progress: From 0 at the first step to 1 at the end.
    ///   - warmUp: The share of the run in which ``cosine`` rises, from 0 to 1.
    /// - Returns: From 0 to 1.
    public func factor(progress: Double, warmUp: Double) -> Double {
        let progress = min(max(progress, 0), 1)
        func between(_ start: Double, _ end: Double, _ share: Double) -> Double {
            end + (start - end) * (1 + cos(.pi * share)) / 2
        }
        switch self {
        case .constant: return 1
        case .cosine:
            if progress < warmUp { return progress / warmUp }
            return between(1, 0.1, warmUp < 1 ? (progress - warmUp) / (1 - warmUp) : 1)
        case .oneCycle:
            if progress < 0.3 { return between(1.0 / 25, 1, progress / 0.3) }
            return between(1, 1 / 250_000, (progress - 0.3) / 0.7)
        }
    }
}
