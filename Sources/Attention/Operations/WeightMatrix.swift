internal import CAttentionKernels

/// A matrix of weights `[rows, columns]`, stored as a checkpoint stores it: what ``matmul(_:_:)`` multiplies by.
///
/// The quantised formats are GGUF's. ``arithmetic`` chooses whether they are decoded to float32 when they are needed, and
/// never kept, or multiplied as they are by activations in 8 bits. A matrix that was made from a tensor keeps it: gradients
/// reach it, if it is tracked.
public struct WeightMatrix: Sendable {
    /// How weights are stored.
    public enum Format: String, Sendable, CaseIterable {
        /// 4 bytes a weight.
        case float32 = "F32"
        /// IEEE 754 binary16.
        case float16 = "F16"
        /// The upper half of a float32.
        case bfloat16 = "BF16"
        /// Blocks of 32 signed bytes with a float16 scale: 8.5 bits a weight.
        case q80 = "Q8_0"
        /// Blocks of 32 4-bit numbers less 8 with a float16 scale: 4.5 bits a weight.
        case q40 = "Q4_0"
        /// Blocks of 32 4-bit numbers with a float16 scale and minimum: 5 bits a weight.
        case q41 = "Q4_1"

        /// How many neighbouring weights of a row are stored together.
        public var blockLength: Int {
            switch self {
            case .float32, .float16, .bfloat16: 1
            case .q80, .q40, .q41: 32
            }
        }

        /// Whether weights are integers with a scale for each block.
        public var isQuantized: Bool { blockLength > 1 }

        /// How many bytes a block takes.
        public var blockByteCount: Int {
            switch self {
            case .float32: 4
            case .float16, .bfloat16: 2
            case .q80: 34
            case .q40: 18
            case .q41: 20
            }
        }

        var kernelType: sattn_weight_type {
            switch self {
            case .float32: SATTN_FLOAT32
            case .float16: SATTN_FLOAT16
            case .bfloat16: SATTN_BFLOAT16
            case .q80: SATTN_Q8_0
            case .q40: SATTN_Q4_0
            case .q41: SATTN_Q4_1
            }
        }
    }

    /// What a product with quantised weights computes with.
    public enum Arithmetic: String, Sendable, CaseIterable {
        /// Weights are decoded to float32.
        case float32
        /// Activations are quantised, in blocks of 16 numbers of 8 bits with a scale; sums within a block are exact
        /// integers, and those of blocks float32.
        ///
        /// Several times as fast. An activation is off by at most 1/254 of the largest in its block.
        case int8
    }

    /// The number of rows: outputs.
    public let rowCount: Int
    /// The number of columns: inputs.
    public let columnCount: Int
    /// How the weights are stored; of float64 ones, how those that are decoded row by row are.
    public let format: Format
    /// The tensor that the matrix was made from, if it was made from one.
    public let tensor: Tensor?
    /// What products are asked to compute with; see ``usedArithmetic``.
    public var arithmetic: Arithmetic
    private let storage: TensorStorage
    private let byteOffset: Int
    /// Of quantised formats.
    private let packed: PackedWeights?

    /// Creates a matrix over bytes that somebody else owns, without copying them.
    ///
    /// - Parameters:
    ///   - bytes: `rowCount` rows of whole blocks, side by side, of any alignment; they must not change.
    ///   - owner: Keeps `bytes` alive.
    ///   - rowCount: Outputs.
    ///   - columnCount: Inputs, a multiple of the format's ``Format/blockLength``.
    ///   - format: How the weights are stored.
    ///   - arithmetic: What products compute with, where the format is a quantised one.
    public init(
        sharing bytes: UnsafeRawBufferPointer, owner: any AnyObject & Sendable, rowCount: Int, columnCount: Int,
        format: Format, arithmetic: Arithmetic = .float32
    ) {
        require(
            columnCount % format.blockLength == 0,
            "Rows of \(columnCount) weights are not whole blocks of \(format.blockLength).")
        let needed = rowCount * (columnCount / format.blockLength) * format.blockByteCount
        require(
            bytes.count == needed,
            "\(bytes.count) bytes do not fill [\(rowCount), \(columnCount)] in \(format.rawValue): \(needed).")
        self.rowCount = rowCount
        self.columnCount = columnCount
        self.format = format
        self.arithmetic = arithmetic
        tensor = nil
        packed = format.isQuantized ? PackedWeights() : nil
        storage = TensorStorage(sharing: bytes, owner: owner)
        byteOffset = 0
    }

    /// Creates a matrix from a tensor.
    ///
    /// - Parameter tensor: `[rows, columns]`, floating-point; it may be tracked.
    public init(_ tensor: Tensor) {
        require(tensor.rank == 2, "A weight matrix has two dimensions, not \(tensor.shape).")
        var stored = tensor.detached
        switch tensor.elementType {
        case .float32: format = .float32
        case .float16: format = .float16
        case .bfloat16: format = .bfloat16
        case .float64:
            format = .float32
            stored = stored.converted(to: .float32)
        default: stop("A weight matrix holds floating-point numbers, not \(tensor.elementType).")
        }
        stored = stored.contiguous()
        self.tensor = tensor
        arithmetic = .float32
        packed = nil
        rowCount = tensor.shape[0]
        columnCount = tensor.shape[1]
        storage = stored.storage
        byteOffset = stored.offset * stored.elementType.byteCount
    }

    var rowByteCount: Int { columnCount / format.blockLength * format.blockByteCount }

    /// The number of bytes that the weights take.
    public var byteCount: Int { rowCount * rowByteCount }

    /// What products compute with.
    ///
    /// Integers where they were asked for, the weights are quantised, and the kernels in use have a product of bytes. Where gradients are recorded it is always float32.
    public var usedArithmetic: Arithmetic {
        let isPossible = format.isQuantized && Kernels.current.quantized_product != nil
        return isPossible ? arithmetic : .float32
    }

    /// Returns the matrix with its weights stored as another type, rounded to the nearest, ties to even.
    ///
    /// float16 and bfloat16 take half the memory of float32, and products read them as they lie. A quantised matrix stays
    /// as it is.
    ///
    /// - Parameter type: float32, float16 or bfloat16.
    /// - Returns: A matrix that gradients do not reach.
    public func stored(as type: ElementType) -> WeightMatrix {
        require(
            [.float32, .float16, .bfloat16].contains(type),
            "Weights are stored as float32, float16 or bfloat16, not as \(type).")
        return format.isQuantized ? self : WeightMatrix(decoded.detached.converted(to: type))
    }

    /// The weights as a tensor to differentiate by: the one that the matrix was made from, or all rows, decoded.
    public var decoded: Tensor { tensor ?? rows(Array(0..<rowCount)) }

    /// Returns rows, `[indices.count, columns]`: an embedding's look-up.
    ///
    /// - Parameter indices: From 0 to less than ``rowCount``.
    /// - Returns: One row per index: float64 where the matrix was made from such a tensor, else float32.
    public func rows(_ indices: [Int]) -> Tensor {
        if let tensor { return embedding(weight: tensor, indices: indices) }
        let result = Tensor(uninitialized: [indices.count, columnCount], elementType: .float32)
        for (place, index) in indices.enumerated() {
            require(0..<rowCount ~= index, "Row \(index) was asked for, but there are \(rowCount).")
            decode(row: index, to: result.pointer(as: Float.self) + place * columnCount)
        }
        return result
    }

    /// The mean of all rows, `[columns]`.
    public var meanRow: Tensor {
        // Blocks of rows of a fixed size, added in order: the same bits for any number of threads.
        let blockLength = 1024
        let blockCount = blocks(of: rowCount, by: blockLength)
        let partial = Tensor(zeros: [max(1, blockCount), columnCount], elementType: .float32)
        parallel(blockCount) { block in
            let sum = partial.pointer(as: Float.self) + block * columnCount
            withUnsafeTemporaryAllocation(of: Float.self, capacity: columnCount + 1) { buffer in
                guard let row = buffer.baseAddress else { return }
                // sum[c] = Σ_r 1 · row[r, c], by the kernel that adds weighted rows.
                row[columnCount] = 1
                for index in range(block, by: blockLength, upTo: rowCount) {
                    decode(row: index, to: row)
                    Kernels.current.product_add(
                        sum, columnCount, row + columnCount, 1, row, columnCount, 1, columnCount, 1)
                }
            }
        }
        let sums = partial.floats
        let mean = (0..<columnCount).map { column in
            let total = stride(from: column, to: sums.count, by: max(1, columnCount)).reduce(0.0) {
                $0 + Double(sums[$1])
            }
            return Float(total / Double(max(1, rowCount)))
        }
        return Tensor(mean, shape: [columnCount])
    }

    /// Writes one row as float32.
    func decode(row: Int, to out: UnsafeMutablePointer<Float>) {
        defer { withExtendedLifetime(storage) {} }
        let source = storage.base + byteOffset + row * rowByteCount
        if format == .float32 && Int(bitPattern: source) % 4 == 0 {
            out.update(from: source.assumingMemoryBound(to: Float.self), count: columnCount)
        } else {
            Kernels.current.decode(out, source, format.kernelType, columnCount)
        }
    }

    /// The rows as they lie, if they are numbers and no blocks; the caller keeps the matrix alive.
    var storedOperand: StoredOperand? {
        guard format.blockLength == 1 else { return nil }
        return StoredOperand(start: storage.base + byteOffset, type: format.kernelType, stride: columnCount)
    }

    /// The rows in panels, for integer products with a quantised format.
    var panels: TensorStorage {
        guard let packed else { stop("Weights in \(format.rawValue) are not laid out in panels.") }
        defer { withExtendedLifetime(storage) {} }
        return packed.panels(
            of: storage.base + byteOffset, type: format.kernelType, rowCount: rowCount, columnCount: columnCount,
            rowByteCount: rowByteCount)
    }
}
