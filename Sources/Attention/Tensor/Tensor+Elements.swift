internal import CAttentionKernels

extension Tensor {
    /// Returns the tensor itself if its elements lie side by side, else a copy in which they do.
    ///
    /// - Returns: A tensor with ``isContiguous`` true.
    public func contiguous() -> Tensor {
        isContiguous ? self : copied(to: elementType).recorded(from: [self]) { gradient, _ in [gradient] }
    }

    /// Returns the tensor with its elements stored as another type, rounded to the nearest, ties to even.
    ///
    /// - Parameter newType: A floating-point type, or the tensor's own.
    /// - Returns: The tensor itself if it has that type.
    public func converted(to newType: ElementType) -> Tensor {
        if newType == elementType { return self }
        let gradientType = gradientType
        return copied(to: newType).recorded(from: [self]) { gradient, _ in [gradient.converted(to: gradientType)] }
    }

    /// The elements in row-major order as `Float`.
    public var floats: [Float] { elements(as: Float.self) }

    /// The elements in row-major order as `Double`.
    public var doubles: [Double] { elements(as: Double.self) }

    /// The elements in row-major order as `Int`; floating-point elements are refused.
    public var integers: [Int] {
        require(!elementType.isFloatingPoint, "A \(elementType) tensor has no integers.")
        var values: [Int] = []
        values.reserveCapacity(elementCount)
        forEachRow { row in
            for index in 0..<row.count {
                let address = row.base + index * row.stride * elementType.byteCount
                switch elementType {
                case .int32: values.append(Int(address.load(as: Int32.self)))
                case .int64: values.append(Int(address.load(as: Int64.self)))
                default: values.append(Int(address.load(as: UInt8.self)))
                }
            }
        }
        return values
    }

    /// One element, as a `Double`.
    ///
    /// - Parameter indices: One per dimension, from 0.
    public subscript(indices: Int...) -> Double {
        require(indices.count == rank, "\(indices) does not index the shape \(shape).")
        var position = 0
        for (axis, index) in indices.enumerated() {
            require(shape[axis] > index && index >= 0, "\(indices) leaves the shape \(shape).")
            position += index * strides[axis]
        }
        var value = 0.0
        read(into: &value, from: position, count: 1, stride: 1)
        return value
    }

    private func elements<Scalar: AttentionScalar>(as type: Scalar.Type) -> [Scalar] {
        [Scalar](unsafeUninitializedCapacity: elementCount) { buffer, count in
            count = elementCount
            guard var out = buffer.baseAddress else { return }
            forEachRow { row in
                read(into: out, from: row.position, count: row.count, stride: row.stride)
                out += row.count
            }
        }
    }

    func copied(to newType: ElementType) -> Tensor {
        let result = Tensor(uninitialized: shape, elementType: newType)
        var out = result.base
        if newType == elementType {
            let start = out
            let length = shape.last ?? 1
            // Safe: each piece writes its own rows.
            forEachPiece(of: elementCount / max(1, length), by: max(1, 32_768 / max(1, length))) { rows in
                var out = start + rows.lowerBound * length * elementType.byteCount
                forEachRow(in: rows) { row in
                    if row.stride == 1 {
                        out.copyMemory(from: row.base, byteCount: row.count * elementType.byteCount)
                    } else {
                        copyStrided(row, to: out)
                    }
                    out += row.count * elementType.byteCount
                }
            }
            return result
        }
        require(newType.isFloatingPoint, "\(elementType) cannot be converted to \(newType).")
        forEachRow { row in
            switch newType {
            case .float64:
                read(
                    into: out.assumingMemoryBound(to: Double.self), from: row.position, count: row.count,
                    stride: row.stride)
            case .float32:
                read(
                    into: out.assumingMemoryBound(to: Float.self), from: row.position, count: row.count,
                    stride: row.stride)
            default:
                withUnsafeTemporaryAllocation(of: Float.self, capacity: max(1, row.count)) { floats in
                    guard let start = floats.baseAddress else { return }
                    if elementType == .float64 {
                        let numbers = pointer(as: Double.self) + row.position
                        for index in 0..<row.count { start[index] = roundedToOdd(numbers[index * row.stride]) }
                    } else {
                        read(into: start, from: row.position, count: row.count, stride: row.stride)
                    }
                    let halves = out.assumingMemoryBound(to: UInt16.self)
                    if newType == .float16 {
                        Kernels.current.encode_float16(halves, start, row.count)
                    } else {
                        Kernels.current.encode_bfloat16(halves, start, row.count)
                    }
                }
            }
            out += row.count * newType.byteCount
        }
        return result
    }

    /// A run along the last dimension.
    struct Row {
        let base: UnsafeMutableRawPointer
        /// The first element, counted from the tensor's first.
        let position: Int
        let count: Int
        let stride: Int
    }

    /// Calls `body` with each row along the last dimension, in row-major order.
    func forEachRow(_ body: (Row) -> Void) {
        guard elementCount > 0 else { return }
        forEachRow(in: 0..<elementCount / (shape.last ?? 1), body)
    }

    /// Calls `body` with some of the rows along the last dimension, in row-major order.
    func forEachRow(in rows: Range<Int>, _ body: (Row) -> Void) {
        guard elementCount > 0 else { return }
        let last = rank - 1
        let (count, stride) = rank == 0 ? (1, 1) : (shape[last], strides[last])
        var indices = [Int](repeating: 0, count: max(0, last))
        var position = 0
        var first = rows.lowerBound
        for axis in indices.indices.reversed() {
            (first, indices[axis]) = first.quotientAndRemainder(dividingBy: shape[axis])
            position += indices[axis] * strides[axis]
        }
        for _ in rows {
            body(Row(base: base + position * elementType.byteCount, position: position, count: count, stride: stride))
            var axis = indices.count - 1
            while axis >= 0 {
                indices[axis] += 1
                position += strides[axis]
                if indices[axis] < shape[axis] { break }
                position -= shape[axis] * strides[axis]
                indices[axis] = 0
                axis -= 1
            }
        }
    }

    private func copyStrided(_ row: Row, to out: UnsafeMutableRawPointer) {
        func copy<Stored>(as type: Stored.Type) {
            let (source, out) = (row.base.assumingMemoryBound(to: type), out.assumingMemoryBound(to: type))
            for index in 0..<row.count { out[index] = source[index * row.stride] }
        }
        switch elementType.byteCount {
        case 1: copy(as: UInt8.self)
        case 2: copy(as: UInt16.self)
        case 4: copy(as: UInt32.self)
        default: copy(as: UInt64.self)
        }
    }

    /// Writes `count` elements, `stride` apart from `position` on, to `out` as `Scalar`.
    ///
    /// This is the one place where stored types become numbers to compute with.
    func read<Scalar: AttentionScalar>(
        into out: UnsafeMutablePointer<Scalar>, from position: Int, count: Int, stride: Int
    ) {
        func convert<Stored>(_ type: Stored.Type, _ number: (Stored) -> Scalar) {
            let source = pointer(as: type) + position
            for index in 0..<count {
                out[index] = number(source[index * stride])
            }
        }
        switch elementType {
        case .float32:
            if stride == 1, let floats = out as? UnsafeMutablePointer<Float> {
                floats.update(from: pointer(as: Float.self) + position, count: count)
            } else {
                convert(Float.self) { Scalar($0) }
            }
        case .float64: convert(Double.self) { Scalar($0) }
        case .float16, .bfloat16:
            if stride == 1, let floats = out as? UnsafeMutablePointer<Float> {
                let type = elementType == .float16 ? SATTN_FLOAT16 : SATTN_BFLOAT16
                Kernels.current.decode(floats, pointer(as: UInt16.self) + position, type, count)
            } else if elementType == .float16 {
                convert(UInt16.self) { Scalar(Float(Float16(bitPattern: $0))) }
            } else {
                convert(UInt16.self) { Scalar(Float(BFloat16(bitPattern: $0))) }
            }
        case .int32: convert(Int32.self) { Scalar($0) }
        case .int64: convert(Int64.self) { Scalar($0) }
        case .bool: convert(UInt8.self) { Scalar($0) }
        }
    }
}

/// Returns the number as a `Float` that rounds to the same half as the number itself does: where digits are lost,
/// the neighbour whose last bit is odd, which no later rounding takes for a tie.
///
/// Boldo and Melquiond, "Emulation of a FMA and Correctly Rounded Sums", 2008, section 3.
private func roundedToOdd(_ number: Double) -> Float {
    let nearest = Float(number)
    if Double(nearest) == number || nearest.isNaN || nearest.bitPattern % 2 == 1 { return nearest }
    return Double(nearest) < number ? nearest.nextUp : nearest.nextDown
}
