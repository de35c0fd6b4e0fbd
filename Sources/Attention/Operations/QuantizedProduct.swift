internal import CAttentionKernels
internal import Synchronization

/// Quantised weights as the kernels for 8-bit activations read them: panels of 16 rows, made at the first use and kept.
///
/// They take as many bytes as the rows themselves, which are read no more but for an embedding's look-up: of a mapped file
/// the system may then drop them.
final class PackedWeights: Sendable {
    private let made = Mutex<TensorStorage?>(nil)

    /// Returns the panels; the first call has them made on the pool's threads.
    func panels(
        of rows: UnsafeRawPointer, type: sattn_weight_type, rowCount: Int, columnCount: Int, rowByteCount: Int
    ) -> TensorStorage {
        made.withLock { made in
            if let made { return made }
            let panelByteCount = sattn_panel_byte_count(type, columnCount)
            let panelCount = blocks(of: rowCount, by: quantizedPanelRows)
            let panels = TensorStorage(byteCount: panelCount * panelByteCount)
            parallel(panelCount) { panel in
                let range = range(panel, by: quantizedPanelRows, upTo: rowCount)
                sattn_pack_panel(
                    panels.base + panel * panelByteCount, rows + range.lowerBound * rowByteCount, type, range.count,
                    columnCount)
            }
            made = panels
            return panels
        }
    }
}

/// The rows of a panel.
let quantizedPanelRows = 16

/// Rows of activations in 8 bits: blocks of 16 with a scale and a scaled sum each.
private struct QuantizedRows {
    let rowCount: Int
    let columnCount: Int
    private let storage: TensorStorage
    private var rowBlockCount: Int { columnCount / SATTN_ACTIVATION_BLOCK }

    /// Quantises `[…, columns]`, float32 and contiguous.
    init(_ x: Tensor, rowCount: Int, columnCount: Int) {
        self.rowCount = rowCount
        self.columnCount = columnCount
        let blockCount = rowCount * (columnCount / SATTN_ACTIVATION_BLOCK)
        storage = TensorStorage(byteCount: rowCount * columnCount + 2 * blockCount * MemoryLayout<Float>.stride)
        guard rowCount * columnCount > 0 else { return }
        let source = x.pointer(as: Float.self)
        // One or a few are done sooner than a thread wakes.
        let pieceLength = max(4, 16_384 / columnCount)
        let rows = self
        parallel(blocks(of: rowCount, by: pieceLength)) { piece in
            let range = range(piece, by: pieceLength, upTo: rowCount)
            let first = range.lowerBound
            Kernels.current.quantize(
                rows.quants(from: first), rows.scales(from: first), rows.sums(from: first),
                source + first * columnCount, range.count * columnCount)
        }
    }

    func quants(from row: Int) -> UnsafeMutablePointer<Int8> {
        storage.base.assumingMemoryBound(to: Int8.self) + row * columnCount
    }

    func scales(from row: Int) -> UnsafeMutablePointer<Float> {
        (storage.base + rowCount * columnCount).assumingMemoryBound(to: Float.self) + row * rowBlockCount
    }

    func sums(from row: Int) -> UnsafeMutablePointer<Float> { scales(from: row) + rowCount * rowBlockCount }
}

/// Returns the products of one input with several quantised matrices, on 8-bit activations: quantised once, and all in
/// one parallel section.
///
/// - Parameters:
///   - x: `[…, columns]`, floating-point.
///   - matrices: All with as many columns, of formats that have panels.
/// - Returns: `[…, rows]` for each, float32.
func quantizedProducts(_ x: Tensor, _ matrices: [WeightMatrix]) -> [Tensor] {
    guard let columns = matrices.first?.columnCount, let multiply = Kernels.current.quantized_product else { return [] }
    let rows = Tensor.elementCount(of: Array(x.shape.dropLast()))
    let input = QuantizedRows(
        x.converted(to: .float32).contiguous(), rowCount: rows, columnCount: columns)
    let results = matrices.map { Tensor(uninitialized: x.shape.dropLast() + [$0.rowCount], elementType: .float32) }
    guard rows > 0 else { return results }
    let panels = matrices.map(\.panels)
    let total = matrices.reduce(0) { $0 + blocks(of: $1.rowCount, by: quantizedPanelRows) }

    // An item is some panels, two of which the kernel takes at once, and some rows. The panels stay in the first-level
    // cache while the rows pass by, and the rows in the second-level one from item to item.
    let panelLength = min(max(total / (8 * ComputeThreads.count) / 2 * 2, 2), rows == 1 ? 48 : 12)
    let rowPieces = blocks(of: rows, by: max(4, 393_216 / max(1, columns)))
    let rowLength = blocks(of: blocks(of: rows, by: rowPieces), by: 4) * 4
    var items: [(matrix: Int, outputs: Range<Int>)] = []
    for (index, matrix) in matrices.enumerated() {
        let length = panelLength * quantizedPanelRows
        for block in 0..<blocks(of: matrix.rowCount, by: length) {
            items.append((index, range(block, by: length, upTo: matrix.rowCount)))
        }
    }
    parallel(items.count * blocks(of: rows, by: rowLength)) { index in
        let (matrix, outputs) = items[index % items.count]
        let range = range(index / items.count, by: rowLength, upTo: rows)
        let type = matrices[matrix].format.kernelType
        let stride = matrices[matrix].rowCount
        let panelByteCount = sattn_panel_byte_count(type, columns)
        multiply(
            results[matrix].pointer(as: Float.self) + range.lowerBound * stride + outputs.lowerBound, stride,
            input.quants(from: range.lowerBound), input.scales(from: range.lowerBound),
            input.sums(from: range.lowerBound),
            panels[matrix].base + outputs.lowerBound / quantizedPanelRows * panelByteCount, type, range.count,
            outputs.count, columns)
    }
    return results
}
