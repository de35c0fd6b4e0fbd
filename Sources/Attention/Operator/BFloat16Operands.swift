internal import CAttentionKernels

/// Operands of bfloat16 for processors that multiply it themselves: queries as they lie, keys and values packed in pairs.
///
/// The products are added in float32, and so is the softmax; a weight is rounded to bfloat16 before it multiplies its value.
final class BFloat16Operands: Sendable {
    private let queries: Tensor
    private let keys: Tensor
    private let values: Tensor
    private let shape: AttentionShape
    private let scale: Float
    /// How many pairs a key-value head has: keys in whole panels, then values in pairs of rows.
    private let keyPairCount: Int
    private let pairCount: Int
    /// Pairs of values come by so many: behind the last there are zeros.
    private static var pairBlock: Int { 16 }
    /// For each key-value head what ``packed(ofGroup:)`` returns, unless a thread packs it for itself.
    private let storage: TensorStorage?

    /// Whether a call takes this path; that depends on its choices and on nothing that differs between its sequences.
    static func serve<Scalar: KernelScalar>(_ call: TiledAttention<Scalar>) -> Bool {
        guard Kernels.current.attend_bfloat16 != nil, Scalar.self == Float.self, call.isInBounds,
            call.operation.queryCounts == nil
        else { return false }
        guard case .identity = call.form.queries, case .identity = call.form.keys else { return false }
        let isPaired = [call.queries, call.keys].allSatisfy { $0.shape[3] % 2 == 0 && $0.strides[2] % 2 == 0 }
        return isPaired
            && [call.queries, call.keys, call.values].allSatisfy {
                $0.elementType == .bfloat16 && ($0.strides[3] == 1 || $0.shape[3] <= 1)
            }
    }

    /// Packs the operands of a call that ``serve(_:)`` accepts; where it packs by head, that is left to ``packed(ofGroup:)``.
    init?<Scalar: KernelScalar>(_ call: TiledAttention<Scalar>, packsByHead: Bool) {
        guard Self.serve(call) else { return nil }
        (queries, keys, values) = (call.queries, call.keys, call.values)
        shape = call.shape
        scale = Float(call.form.scale)
        keyPairCount =
            blocks(of: shape.keyCount, by: Float.tileColumns) * Float.tileColumns * (shape.keyDimension / 2)
        pairCount =
            keyPairCount + blocks(of: shape.keyCount, by: 2 * Self.pairBlock) * Self.pairBlock * shape.valueDimension
        let groupCount = shape.batchCount * shape.keyValueHeadCount
        storage = packsByHead ? nil : TensorStorage(byteCount: groupCount * pairCount * 4)
        guard let start = storage?.base.assumingMemoryBound(to: Float.self) else { return }
        let blockCount = blocks(of: shape.keyCount, by: TileSize.keys)
        parallel(groupCount * blockCount) { item in
            let (group, block) = item.quotientAndRemainder(dividingBy: blockCount)
            pack(group, range(block, by: TileSize.keys, upTo: shape.keyCount), into: start + group * pairCount)
        }
    }

    /// How many bytes the packed keys and values of a key-value head take.
    static func byteCount(_ shape: AttentionShape) -> Int {
        shape.keyCount * (2 * shape.keyDimension + 2 * shape.valueDimension)
    }

    /// Returns the packed keys and values of a key-value head.
    func packed(ofGroup group: Int) -> TensorStorage {
        let storage = TensorStorage(byteCount: pairCount * 4)
        pack(group, 0..<shape.keyCount, into: storage.base.assumingMemoryBound(to: Float.self))
        return storage
    }

    /// Packs keys that begin a panel, and their values, into a head's place.
    private func pack(_ group: Int, _ range: Range<Int>, into start: UnsafeMutablePointer<Float>) {
        let (batch, head) = group.quotientAndRemainder(dividingBy: shape.keyValueHeadCount)
        let depth = shape.keyDimension / 2
        let width = Float.tileColumns
        for key in stride(from: range.lowerBound, to: range.upperBound, by: width) {
            // A pair of bfloat16 is moved as if it were a float.
            Float.transpose(
                start + key * depth, width, pairs(keys, batch, head, key), keys.strides[2] / 2,
                min(width, range.upperBound - key), depth)
        }
        let rows = values.pointer(as: UInt16.self) + position(values, batch, head, range.lowerBound)
        let target = UnsafeMutableRawPointer(start + keyPairCount).assumingMemoryBound(to: UInt32.self)
        Kernels.current.pair_values(
            target + range.lowerBound / 2 * shape.valueDimension, rows, values.strides[2], range.count,
            shape.valueDimension)
        guard range.upperBound == shape.keyCount else { return }
        let (end, pairs) = (blocks(of: range.upperBound, by: 2) * shape.valueDimension, pairCount - keyPairCount)
        (target + end).update(repeating: 0, count: pairs - end)
    }

    private func position(_ tensor: Tensor, _ batch: Int, _ head: Int, _ row: Int) -> Int {
        batch * tensor.strides[0] + head * tensor.strides[1] + row * tensor.strides[2]
    }

    private func pairs(_ tensor: Tensor, _ batch: Int, _ head: Int, _ row: Int) -> UnsafePointer<Float> {
        UnsafeRawPointer(tensor.pointer(as: UInt16.self) + position(tensor, batch, head, row))
            .assumingMemoryBound(to: Float.self)
    }

    /// Carries the softmax and the averages of a tile on over a block of keys.
    func attend<Scalar: KernelScalar>(
        to keyRange: Range<Int>, _ tile: QueryTile, _ own: TensorStorage?, _ rows: RowStatistics<Scalar>, firstRow: Int,
        _ scratch: TileScratch<Scalar>, isCut: Bool
    ) {
        guard let storage = own ?? storage else { stop("Keys and values were not packed.") }
        let group = tile.batch * shape.keyValueHeadCount + tile.head / shape.groupSize
        let start = storage.base.assumingMemoryBound(to: Float.self) + (own == nil ? group * pairCount : 0)
        func floats(_ pointer: UnsafeMutablePointer<Scalar>) -> UnsafeMutablePointer<Float> {
            UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: Float.self)
        }
        let depth = shape.keyDimension / 2
        let values = start + keyPairCount + keyRange.lowerBound / 2 * shape.valueDimension
        var step = sattn_attention_tile(
            rows: tile.queries.count, keys: keyRange.count, depth: depth, width: shape.valueDimension,
            queries: pairs(queries, tile.batch, tile.head, tile.queries.lowerBound),
            query_stride: queries.strides[2] / 2, panels: start + keyRange.lowerBound * depth,
            operation: SATTN_PRODUCT, scale: scale, begins: isCut ? UnsafePointer(scratch.begins) : nil,
            ends: isCut ? UnsafePointer(scratch.ends) : nil, values: values, value_stride: shape.valueDimension,
            scores: floats(scratch.scores), score_stride: TileSize.keys, averages: floats(scratch.average),
            maxima: floats(rows.maximum + firstRow), sums: floats(rows.sum + firstRow))
        Kernels.current.attend_bfloat16(&step)
    }
}
