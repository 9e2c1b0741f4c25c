package web

import (
	"slices"

	"github.com/opensend/opensend/automations"
)

// A drawing is made of blocks. A block is a step with a lane for each way out
// of it side by side below, and below those the steps at which its lanes come
// together again. Blocks are rectangles within each other, so nothing overlaps.
// A lane is the block of the step that it leads to, where only it leads there;
// otherwise an empty strip that leads on to where lanes meet, or to the end.

// Sizes of a drawing, in pixels.
const (
	nodeWidth, nodeHeight = 224, 72
	laneWidth, endHeight  = 112, 26
	rowGap, laneGap       = 76, 18
	drawingEdge           = 14
)

// flowDrawing is where everything of a flow is drawn.
type flowDrawing struct {
	Width, Height int
	Nodes         []*drawnStep // in the order that people read them
}

// drawnStep is a step in its place.
type drawnStep struct {
	Step automations.Step
	X, Y int // of its top left corner
	Ways []drawnWay
}

// drawnWay is a way out of a step: down a lane, and from there to the step
// that it leads to, if any.
type drawnWay struct {
	automations.Way
	Lane     int // where the lane is, from the left
	ToX, ToY int // the middle of the top of what it leads to
}

// layOut gives the steps of a definition their places, whatever is wrong with
// it: connections that lead nowhere or back are left out, and steps that
// nothing leads to stand beside the rest.
func layOut(d automations.Definition) *flowDrawing {
	g := newFlowGraph(d.Connected())
	width, height := 0, 0
	for _, root := range g.roots {
		w, h := g.measure(root)
		width += w + laneGap
		height = max(height, h)
	}
	meetings := g.meetings[nil] // of steps that nothing leads to
	for _, m := range meetings {
		w, h := g.measure(m)
		width, height = max(width, w+laneGap), height+rowGap+h
	}
	drawing := &flowDrawing{Width: width - laneGap + 2*drawingEdge, Height: height + 2*drawingEdge}
	x, bottom := drawingEdge, drawingEdge
	for _, root := range g.roots {
		g.place(root, x, drawingEdge)
		x += root.width + laneGap
		bottom = max(bottom, drawingEdge+root.height)
	}
	for _, m := range meetings {
		g.place(m, (drawing.Width-m.width)/2, bottom+rowGap)
		bottom += rowGap + m.height
	}
	for _, n := range g.order {
		drawing.Nodes = append(drawing.Nodes, g.draw(n))
	}
	return drawing
}

// flowNode is a step while its place is sought.
type flowNode struct {
	step          automations.Step
	ways          []automations.Way
	from          []*flowNode // what leads here, in order
	above         *flowNode   // the last step that every way here goes through; nil above roots
	depth         int         // how many such steps there are
	width, height int         // of its block
	x, y          int         // of the block's top left corner
	lanes         []int       // the middle of each
}

type flowGraph struct {
	byKey    map[string]*flowNode
	order    []*flowNode // each after all that lead to it
	roots    []*flowNode
	meetings map[*flowNode][]*flowNode // the steps at which lanes below one come together
}

func newFlowGraph(d automations.Definition) *flowGraph {
	g := &flowGraph{byKey: map[string]*flowNode{}, meetings: map[*flowNode][]*flowNode{}}
	for _, s := range d.Steps {
		if g.byKey[s.Key] == nil {
			g.byKey[s.Key] = &flowNode{step: s, ways: d.Ways(s)}
		}
	}
	g.sort(d.Steps)
	for _, n := range g.order {
		for _, w := range n.ways {
			if to := g.byKey[w.To]; to != nil {
				to.from = append(to.from, n)
			}
		}
	}
	for _, n := range g.order {
		g.findAbove(n)
	}
	return g
}

// sort puts the steps in order and ends ways that lead back or nowhere.
func (g *flowGraph) sort(steps []automations.Step) {
	const visiting, done = 1, 2
	state := map[*flowNode]int{}
	var visit func(n *flowNode)
	visit = func(n *flowNode) {
		state[n] = visiting
		for i, w := range slices.Backward(n.ways) {
			switch to := g.byKey[w.To]; {
			case to == nil || state[to] == visiting:
				n.ways[i].To = ""
			case state[to] == 0:
				visit(to)
			}
		}
		state[n] = done
		g.order = append(g.order, n)
	}
	for _, s := range slices.Backward(steps) { // so that the trigger comes first
		if n := g.byKey[s.Key]; state[n] == 0 && (s.Key == steps[0].Key || !g.led(n, steps)) {
			visit(n)
		}
	}
	for _, s := range steps { // circles that nothing leads into
		if n := g.byKey[s.Key]; state[n] == 0 {
			visit(n)
		}
	}
	slices.Reverse(g.order)
}

// led reports whether a step leads to the node.
func (g *flowGraph) led(n *flowNode, steps []automations.Step) bool {
	for _, s := range steps {
		for _, w := range g.byKey[s.Key].ways {
			if w.To == n.step.Key {
				return true
			}
		}
	}
	return false
}

// findAbove finds the step below which the node is drawn. All that lead to it
// have theirs already.
func (g *flowGraph) findAbove(n *flowNode) {
	if len(n.from) == 0 {
		g.roots = append(g.roots, n)
		n.depth = 1
		return
	}
	at := n.from[0]
	for _, other := range n.from[1:] {
		for at != other && at != nil && other != nil {
			if at.depth >= other.depth {
				at = at.above
			} else {
				other = other.above
			}
		}
		if other == nil {
			at = nil
		}
	}
	n.above, n.depth = at, 1
	if at != nil {
		n.depth = at.depth + 1
	}
	if len(n.from) > 1 {
		g.meetings[at] = append(g.meetings[at], n)
	}
}

// below is the node whose block is the lane of a way; nil for an empty strip.
func (g *flowGraph) below(w automations.Way) *flowNode {
	if to := g.byKey[w.To]; to != nil && len(to.from) == 1 {
		return to
	}
	return nil
}

// lane measures a way's lane.
func (g *flowGraph) lane(w automations.Way) (width, height int) {
	to := g.below(w)
	switch {
	case to != nil:
		return g.measure(to)
	case w.To == "":
		return laneWidth, endHeight
	}
	return laneWidth, 0
}

// measure finds the size of a node's block.
func (g *flowGraph) measure(n *flowNode) (width, height int) {
	if n.width > 0 {
		return n.width, n.height
	}
	lanes, tallest := -laneGap, 0
	for _, w := range n.ways {
		width, height := g.lane(w)
		lanes += width + laneGap
		tallest = max(tallest, height)
	}
	n.width, n.height = max(nodeWidth, lanes), nodeHeight
	if len(n.ways) > 0 {
		n.height += rowGap + tallest
	}
	for _, m := range g.meetings[n] {
		w, h := g.measure(m)
		n.width = max(n.width, w)
		n.height += rowGap + h
	}
	return n.width, n.height
}

// place puts a node's block, and the blocks in it, where they belong.
func (g *flowGraph) place(n *flowNode, x, y int) {
	n.x, n.y = x, y
	total, tallest := -laneGap, 0
	for _, w := range n.ways {
		width, _ := g.lane(w)
		total += width + laneGap
	}
	left, top := x+(n.width-total)/2, y+nodeHeight+rowGap
	for _, w := range n.ways {
		width, height := g.lane(w)
		if to := g.below(w); to != nil {
			g.place(to, left, top)
		}
		n.lanes = append(n.lanes, left+width/2)
		left += width + laneGap
		tallest = max(tallest, height)
	}
	top += tallest
	for _, m := range g.meetings[n] {
		g.place(m, x+(n.width-m.width)/2, top+rowGap)
		top += rowGap + m.height
	}
}

func (n *flowNode) middle() int { return n.x + n.width/2 }

func (g *flowGraph) draw(n *flowNode) *drawnStep {
	s := &drawnStep{Step: n.step, X: n.middle() - nodeWidth/2, Y: n.y}
	for i, w := range n.ways {
		way := drawnWay{Way: w, Lane: n.lanes[i], ToX: n.lanes[i], ToY: n.y + nodeHeight + rowGap}
		if to := g.byKey[w.To]; to != nil {
			way.ToX, way.ToY = to.middle(), to.y
		}
		s.Ways = append(s.Ways, way)
	}
	return s
}
