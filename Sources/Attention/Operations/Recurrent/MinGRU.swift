/// Returns the hidden states of a minimal GRU: `h = (1 - z) h_before + z h̃`, with `z = σ(gate)`.
///
/// Neither gate nor candidate depends on the hidden state: each channel is a first-order recurrence of its own, and all
/// that is to be multiplied by weights is multiplied beforehand, for all steps at once.
///
/// Feng et al., "Were RNNs All We Needed?", 2024 (arXiv:2410.01201), section 3.1. Unlike the paper's parallel scan, which
/// serves one sequence on many cores, the steps of a channel follow one another, and batch and channels run in parallel.
///
/// - Parameters:
///   - gates: `[B, T, H]`, before the logistic function; floating-point.
///   - candidates: `[B, T, H]`: h̃.
///   - initialState: `[B, H]`: the hidden state before the first step; `nil` means zeros.
/// - Returns: `[B, T, H]`, the hidden state after each step: float64 where gates and candidates are, else float32.
public func minGRU(gates: Tensor, candidates: Tensor, initialState: Tensor? = nil) -> Tensor {
    require(
        gates.rank == 3 && gates.shape == candidates.shape,
        "The gates are \(gates.shape), the candidates \(candidates.shape); both are [B, T, H].")
    let stateShape = [gates.shape[0], gates.shape[2]]
    require(
        initialState == nil || initialState?.shape == stateShape,
        "The initial state is \(initialState?.shape ?? []), not \(stateShape).")
    return computedType(gates, candidates) == .float64
        ? minGRU(gates, candidates, initialState, as: Double.self)
        : minGRU(gates, candidates, initialState, as: Float.self)
}

private func minGRU<Scalar: KernelScalar>(
    _ gates: Tensor, _ candidates: Tensor, _ initialState: Tensor?, as type: Scalar.Type
) -> Tensor {
    let (batch, steps, channels) = (gates.shape[0], gates.shape[1], gates.shape[2])
    let inputs = gates.detached.converted(to: Scalar.elementType).contiguous()
    let proposals = candidates.detached.converted(to: Scalar.elementType).contiguous()
    let first =
        initialState?.detached.converted(to: Scalar.elementType).contiguous()
        ?? Tensor(zeros: [batch, channels], elementType: Scalar.elementType)
    let states = Tensor(uninitialized: gates.shape, elementType: Scalar.elementType)
    let openings = Tensor(uninitialized: gates.shape, elementType: Scalar.elementType)
    let (x, candidate, start) = (
        inputs.pointer(as: Scalar.self), proposals.pointer(as: Scalar.self), first.pointer(as: Scalar.self)
    )
    let (h, z) = (states.pointer(as: Scalar.self), openings.pointer(as: Scalar.self))
    let pieces = blocks(of: channels, by: pieceLength)
    parallel(batch * pieces) { item in
        let (sequence, part) = (item / pieces, range(item % pieces, by: pieceLength, upTo: channels))
        var previous = UnsafePointer(start + sequence * channels + part.lowerBound)
        for step in 0..<steps {
            let place = (sequence * steps + step) * channels + part.lowerBound
            let (state, opening) = (h + place, z + place)
            for index in 0..<part.count { opening[index] = -x[place + index] }
            _ = Scalar.expSum(opening, part.count, shift: 0)
            for index in 0..<part.count {
                opening[index] = 1 / (1 + opening[index])
                state[index] = previous[index] + opening[index] * (candidate[place + index] - previous[index])
            }
            previous = UnsafePointer(state)
        }
    }
    withExtendedLifetime((inputs, proposals, first)) {}
    return states.recorded(from: [gates, candidates, initialState]) { gradient, isWanted in
        let gradient = gradient.contiguous()
        let gateGradient = Tensor(uninitialized: states.shape, elementType: Scalar.elementType)
        let candidateGradient = Tensor(uninitialized: states.shape, elementType: Scalar.elementType)
        let stateGradient = Tensor(zeros: [batch, channels], elementType: Scalar.elementType)
        let (h, z, candidate) = (
            states.pointer(as: Scalar.self), openings.pointer(as: Scalar.self), proposals.pointer(as: Scalar.self)
        )
        let (start, source) = (first.pointer(as: Scalar.self), gradient.pointer(as: Scalar.self))
        let (dGate, dCandidate) = (gateGradient.pointer(as: Scalar.self), candidateGradient.pointer(as: Scalar.self))
        let dState = stateGradient.pointer(as: Scalar.self)
        parallel(batch * pieces) { item in
            let (sequence, part) = (item / pieces, range(item % pieces, by: pieceLength, upTo: channels))
            let carried = dState + sequence * channels + part.lowerBound
            for step in (0..<steps).reversed() {
                let place = (sequence * steps + step) * channels + part.lowerBound
                let previous = step > 0 ? h + (place - channels) : start + sequence * channels + part.lowerBound
                for index in 0..<part.count {
                    // forward: state = previous + z (candidate - previous), z = σ(gate)
                    let total = source[place + index] + carried[index]
                    let opening = z[place + index]
                    dCandidate[place + index] = total * opening
                    dGate[place + index] =
                        total * (candidate[place + index] - previous[index]) * opening * (1 - opening)
                    carried[index] = total * (1 - opening)
                }
            }
        }
        withExtendedLifetime((gradient, states, openings, proposals, first)) {}
        return [
            isWanted[0] ? gateGradient : nil, isWanted[1] ? candidateGradient : nil, isWanted[2] ? stateGradient : nil,
        ]
    }
}

/// How many channels are one item of work: a few vectors, so that a small batch has work for all threads.
private let pieceLength = 64
