/// A block of queries and keys, in rows, with the gradient of each score, and the place for their own.
public struct ScoreGradientTile<Scalar: AttentionScalar> {
    /// Row-major `[rows, queryDimension]`.
    public let queries: UnsafePointer<Scalar>
    /// How far apart the queries' rows are, in elements.
    public let queryStride: Int
    /// The length of a query.
    public let queryDimension: Int
    /// Row-major `[columns, keyDimension]`.
    public let keys: UnsafePointer<Scalar>
    /// How far apart the keys' rows are, in elements.
    public let keyStride: Int
    /// The length of a key.
    public let keyDimension: Int
    /// `[columns, rows]`, a row for each key. Where one is 0, the pair may be masked: it must not be read.
    public let scoreGradients: UnsafePointer<Scalar>
    /// `[rows, queryDimension]`, to be added to; `nil` if nobody asks for it.
    public let queryGradients: UnsafeMutablePointer<Scalar>?
    /// `[columns, keyDimension]`, to be added to; `nil` if nobody asks for it.
    public let keyGradients: UnsafeMutablePointer<Scalar>?
    /// The number of queries.
    public let rows: Int
    /// The number of keys.
    public let columns: Int

    /// Adds, for each pair, the derivatives of `score(query, key)` times the gradient of the score.
    ///
    /// - Parameter score: The score of one pair, in numbers that record what is computed from them.
    @inlinable public func addDerivatives(
        _ score: (Span<RecordedScalar<Scalar>>, Span<RecordedScalar<Scalar>>) -> RecordedScalar<Scalar>
    ) {
        let recording = ScoreRecording<Scalar>(inputCount: queryDimension + keyDimension)
        // The key first: its numbers stay while the queries pass by.
        var key: [RecordedScalar<Scalar>] = []
        var query: [RecordedScalar<Scalar>] = []
        for column in 0..<columns {
            key.removeAll(keepingCapacity: true)
            for index in 0..<keyDimension {
                key.append(recording.input(keys[column * keyStride + index], at: index))
            }
            for row in 0..<rows {
                let gradient = scoreGradients[column * rows + row]
                // It adds nothing, and the pair may be masked.
                if gradient == 0 { continue }
                query.removeAll(keepingCapacity: true)
                for index in 0..<queryDimension {
                    query.append(recording.input(queries[row * queryStride + index], at: keyDimension + index))
                }
                recording.differentiate(score(query.span, key.span), seed: gradient)
                if let keyGradients {
                    recording.add(0..<keyDimension, to: keyGradients + column * keyDimension)
                }
                if let queryGradients {
                    recording.add(
                        keyDimension..<keyDimension + queryDimension, to: queryGradients + row * queryDimension)
                }
            }
        }
    }
}

/// What was computed from the numbers of a query and a key, in order: the way back to their derivatives.
///
/// Reverse mode, so that the derivatives of all elements cost about as much as the score itself, whatever their number.
public final class ScoreRecording<Value: AttentionScalar> {
    /// A step: the places that it reads, -1 for none, and the derivatives by them.
    @usableFromInline struct Step {
        @usableFromInline var first: Int32
        @usableFromInline var second: Int32
        @usableFromInline var firstDerivative: Value
        @usableFromInline var secondDerivative: Value

        @inlinable init(_ first: Int32, _ firstDerivative: Value, _ second: Int32, _ secondDerivative: Value) {
            self.first = first
            self.second = second
            self.firstDerivative = firstDerivative
            self.secondDerivative = secondDerivative
        }
    }

    @usableFromInline let inputCount: Int
    /// Those after the inputs.
    @usableFromInline var steps: [Step] = []
    /// Of inputs and steps.
    @usableFromInline var gradients: [Value] = []

    @inlinable init(inputCount: Int) {
        self.inputCount = inputCount
    }

    /// Returns an input's number, to be computed with.
    @inlinable func input(_ value: Value, at place: Int) -> RecordedScalar<Value> {
        RecordedScalar(value, Int32(truncatingIfNeeded: place), Unmanaged.passUnretained(self))
    }

    /// Notes a step and returns its place.
    @inlinable func add(_ step: Step) -> Int32 {
        steps.append(step)
        return Int32(truncatingIfNeeded: inputCount + steps.count - 1)
    }

    /// Computes the gradients of the inputs from that of a result, and forgets the steps.
    @inlinable func differentiate(_ result: RecordedScalar<Value>, seed: Value) {
        gradients.removeAll(keepingCapacity: true)
        for _ in 0..<inputCount + steps.count { gradients.append(0) }
        if result.place >= 0 { gradients[Int(result.place)] = seed }
        for index in steps.indices.reversed() {
            let gradient = gradients[inputCount + index]
            if gradient == 0 { continue }
            let step = steps[index]
            if step.first >= 0 { gradients[Int(step.first)] += gradient * step.firstDerivative }
            if step.second >= 0 { gradients[Int(step.second)] += gradient * step.secondDerivative }
        }
        steps.removeAll(keepingCapacity: true)
    }

    /// Adds the gradients of some inputs.
    @inlinable func add(_ places: Range<Int>, to sum: UnsafeMutablePointer<Value>) {
        for (index, place) in places.enumerated() { sum[index] += gradients[place] }
    }
}
