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
    /// `[columns, rows]`, a row for each key.
    ///
    /// Where one is 0, the pair may be masked: its query and key must not be read.
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
        let width = queryDimension + keyDimension
        var recording = ScoreRecording<Scalar>(inputCount: width)
        defer { recording.deallocate() }
        withUnsafeMutablePointer(to: &recording) { recording in
            withUnsafeTemporaryAllocation(of: RecordedScalar<Scalar>.self, capacity: max(1, width)) { inputs in
                // The query's numbers, then the key's; the memory holds nothing that would have to be freed.
                guard let query = inputs.baseAddress else { return }
                let key = query + queryDimension
                func read(_ row: UnsafePointer<Scalar>, _ places: Range<Int>) {
                    for (index, place) in places.enumerated() {
                        (query + place).initialize(
                            to: RecordedScalar(row[index], Int32(truncatingIfNeeded: place), recording))
                    }
                }
                for column in 0..<columns {
                    read(keys + column * keyStride, queryDimension..<width)
                    for row in 0..<rows {
                        let gradient = scoreGradients[column * rows + row]
                        // It adds nothing, and the pair may be masked.
                        if gradient == 0 { continue }
                        read(queries + row * queryStride, 0..<queryDimension)
                        let result = score(
                            UnsafeBufferPointer(start: query, count: queryDimension).span,
                            UnsafeBufferPointer(start: key, count: keyDimension).span)
                        let gradients = recording.pointee.differentiate(result, seed: gradient)
                        if let queryGradients {
                            let sum = queryGradients + row * queryDimension
                            for index in 0..<queryDimension { sum[index] += gradients[index] }
                        }
                        if let keyGradients {
                            let sum = keyGradients + column * keyDimension
                            for index in 0..<keyDimension { sum[index] += gradients[queryDimension + index] }
                        }
                    }
                }
            }
        }
    }
}

/// What was computed from the numbers of a query and a key, in order: the way back to their derivatives.
///
/// Reverse mode, so that the derivatives of all elements cost about as much as the score itself, whatever their number.
@usableFromInline struct ScoreRecording<Value: AttentionScalar> {
    /// A step: the places that it reads, -1 for none, and the derivatives by them.
    @usableFromInline struct Step {
        @usableFromInline let first: Int32
        @usableFromInline let second: Int32
        @usableFromInline let firstDerivative: Value
        @usableFromInline let secondDerivative: Value

        @inlinable init(_ first: Int32, _ firstDerivative: Value, _ second: Int32, _ secondDerivative: Value) {
            self.first = first
            self.second = second
            self.firstDerivative = firstDerivative
            self.secondDerivative = secondDerivative
        }
    }

    @usableFromInline let inputCount: Int
    // Memory by hand: an array's checks would cost several times what a step does.
    @usableFromInline var steps: UnsafeMutablePointer<Step>
    @usableFromInline var count = 0
    @usableFromInline var capacity: Int
    /// Of inputs and steps.
    @usableFromInline var gradients: UnsafeMutablePointer<Value>

    @inlinable init(inputCount: Int) {
        self.inputCount = inputCount
        capacity = 8 * inputCount + 8
        steps = .allocate(capacity: capacity)
        gradients = .allocate(capacity: inputCount + capacity)
    }

    @inlinable func deallocate() {
        steps.deallocate()
        gradients.deallocate()
    }

    /// Notes a step and returns its place.
    @inlinable mutating func add(_ step: Step) -> Int32 {
        if count == capacity { grow() }
        (steps + count).initialize(to: step)
        count += 1
        return Int32(truncatingIfNeeded: inputCount + count - 1)
    }

    @inlinable @inline(never) mutating func grow() {
        let larger = UnsafeMutablePointer<Step>.allocate(capacity: 2 * capacity)
        larger.moveInitialize(from: steps, count: count)
        deallocate()
        capacity *= 2
        steps = larger
        gradients = .allocate(capacity: inputCount + capacity)
    }

    /// Returns the gradients of the inputs, given that of a result, and forgets the steps.
    @inlinable mutating func differentiate(_ result: RecordedScalar<Value>, seed: Value) -> UnsafePointer<Value> {
        let (gradients, steps) = (gradients, steps)
        gradients.initialize(repeating: 0, count: inputCount + count)
        if result.place >= 0 { gradients[Int(result.place)] = seed }
        var index = count
        while index > 0 {
            index -= 1
            let gradient = gradients[inputCount + index]
            if gradient == 0 { continue }
            let step = steps[index]
            if step.first >= 0 { gradients[Int(step.first)] += gradient * step.firstDerivative }
            if step.second >= 0 { gradients[Int(step.second)] += gradient * step.secondDerivative }
        }
        count = 0
        return UnsafePointer(gradients)
    }
}
