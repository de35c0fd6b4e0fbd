/// Returns the mean of `-log softmax(logits)[target]` over the rows that have a target.
///
/// The gradient of a row's logits is `(softmax(logits) - onehot(target)) / count`. What the softmax needs is kept as one
/// number per row, its logarithm of the sum of exponentials, and the probabilities are computed once more on the way back:
/// that is cheaper than to write and to read them.
///
/// Bridle, "Training Stochastic Model Recognition Algorithms as Networks can Lead to Maximum Mutual Information Estimation
/// of Parameters", 1989.
///
/// - Parameters:
///   - logits: `[…, V]`, floating-point.
///   - targets: One class from 0 to less than V per row, in row-major order; -1 for a row that does not count.
/// - Returns: A tensor without dimensions: float64 for float64, else float32; 0 where no row counts.
/// - Precondition: There are as many targets as rows, each from -1 to V - 1.
public func crossEntropy(_ logits: Tensor, targets: [Int]) -> Tensor {
    require(logits.rank >= 1, "A cross-entropy needs logits of at least one dimension.")
    return logits.elementType == .float64
        ? crossEntropy(logits, targets, as: Double.self) : crossEntropy(logits, targets, as: Float.self)
}

private func crossEntropy<Scalar: KernelScalar>(_ logits: Tensor, _ targets: [Int], as type: Scalar.Type) -> Tensor {
    let classCount = logits.shape.last ?? 0
    let rows = Tensor.elementCount(of: Array(logits.shape.dropLast()))
    require(targets.count == rows, "There are \(targets.count) targets for the \(rows) rows of \(logits.shape).")
    for target in targets {
        require(-1..<classCount ~= target, "The target \(target) is none of the \(classCount) classes, nor -1.")
    }
    let count = targets.count { $0 >= 0 }
    let input = logits.detached.converted(to: Scalar.elementType).contiguous()
    let source = input.pointer(as: Scalar.self)
    let logSums = Tensor(zeros: [rows], elementType: Scalar.elementType)
    parallel(rows) { row in
        guard targets[row] >= 0 else { return }
        let x = UnsafePointer(source + row * classCount)
        let maximum = Scalar.maximum(x, classCount)
        withUnsafeTemporaryAllocation(of: Scalar.self, capacity: classCount) { buffer in
            guard let exponentials = buffer.baseAddress else { return }
            exponentials.update(from: x, count: classCount)
            let sum = Scalar.expSum(exponentials, classCount, shift: maximum)
            logSums.pointer(as: Scalar.self)[row] = maximum + Scalar.log(sum)
        }
    }
    // -log softmax(x)[target] = log Σ exp(x) - x[target], added up in order.
    var sum = 0.0
    for row in 0..<rows where targets[row] >= 0 {
        sum += Double(logSums.pointer(as: Scalar.self)[row] - source[row * classCount + targets[row]])
    }
    withExtendedLifetime((input, logSums)) {}
    let loss = Tensor(filledWith: sum / Double(max(1, count)), shape: [], elementType: Scalar.elementType)
    return loss.recorded(from: [logits]) { gradient, _ in
        // forward: loss = Σ (log Σ exp(x) - x[target]) / count
        let factor = Scalar(gradient.doubles[0] / Double(max(1, count)))
        let result = Tensor(uninitialized: input.shape, elementType: Scalar.elementType)
        parallel(rows) { row in
            let out = result.pointer(as: Scalar.self) + row * classCount
            guard targets[row] >= 0 else {
                out.update(repeating: 0, count: classCount)
                return
            }
            out.update(from: input.pointer(as: Scalar.self) + row * classCount, count: classCount)
            _ = Scalar.expSum(out, classCount, shift: logSums.pointer(as: Scalar.self)[row])
            Scalar.scale(out, classCount, by: factor)
            out[targets[row]] -= factor
        }
        withExtendedLifetime((input, logSums)) {}
        return [result]
    }
}
