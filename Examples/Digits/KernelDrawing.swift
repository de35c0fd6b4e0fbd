import Attention

/// Kernels of one channel, to be drawn: what the network looks for in an image.
struct KernelDrawing {
    /// `[kernels][rows][columns]`, from -1 to 1: each kernel is divided by its largest magnitude.
    private let kernels: [[[Double]]]

    /// Creates a drawing of weights `[O, 1, K, L]`.
    init(_ weight: Tensor) {
        kernels = weight.unstacked().map { kernel in
            let rows = kernel.removing(axis: 0).unstacked().map(\.doubles)
            let largest = rows.joined().map(abs).max() ?? 0
            return rows.map { row in row.map { largest == 0 ? 0 : $0 / largest } }
        }
    }

    /// The kernels side by side in block characters: dark where ink counts against, full where it counts for.
    ///
    /// - Parameter perLine: How many stand side by side.
    /// - Returns: Lines of text.
    func text(perLine: Int = 8) -> String {
        let shades = Array(" ░▒▓█")
        var lines: [String] = []
        for start in stride(from: 0, to: kernels.count, by: perLine) {
            let group = kernels[start..<min(start + perLine, kernels.count)]
            for row in 0..<(group.first?.count ?? 0) {
                let parts = group.map { kernel in
                    kernel[row].map { value in
                        String(repeating: shades[Int(((value + 1) / 2 * 4).rounded())], count: 2)
                    }.joined()
                }
                lines.append(parts.joined(separator: "  "))
            }
            lines.append("")
        }
        return lines.joined(separator: "\n")
    }

    /// The kernels as an SVG picture: blue where ink counts for the kernel, red where it counts against.
    ///
    /// - Parameter perLine: How many stand side by side.
    /// - Returns: The file's text.
    func svg(perLine: Int = 8) -> String {
        let (cell, gap) = (14, 14)
        let height = kernels.first?.count ?? 0
        let width = kernels.first?.first?.count ?? 0
        let columns = min(perLine, kernels.count)
        let lines = (kernels.count + perLine - 1) / perLine
        let size = (
            width: columns * (width * cell + gap) + gap, height: lines * (height * cell + gap) + gap
        )
        var svg = """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(size.width) \(size.height)" role="img">
            <title>The \(kernels.count) learned kernels of the first layer</title>
            <rect width="\(size.width)" height="\(size.height)" fill="#ffffff"/>

            """
        for (index, kernel) in kernels.enumerated() {
            let left = gap + index % perLine * (width * cell + gap)
            let top = gap + index / perLine * (height * cell + gap)
            for (row, values) in kernel.enumerated() {
                for (column, value) in values.enumerated() {
                    svg +=
                        "<rect x=\"\(left + column * cell)\" y=\"\(top + row * cell)\" width=\"\(cell)\" "
                        + "height=\"\(cell)\" fill=\"\(color(value))\"/>\n"
                }
            }
        }
        return svg + "</svg>\n"
    }

    /// From red through white to blue.
    private func color(_ value: Double) -> String {
        let target = value < 0 ? (178.0, 24.0, 43.0) : (33.0, 102.0, 172.0)
        func part(_ end: Double) -> Int { Int((255 + (end - 255) * abs(value)).rounded()) }
        return "rgb(\(part(target.0)),\(part(target.1)),\(part(target.2)))"
    }
}
