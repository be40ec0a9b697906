package failpoint_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/failpoint"
)

// TestNames_areThePointsOfTheSource: no point is missing from the list, none of the list is
// gone, and a name stands for one place.
func TestNames_areThePointsOfTheSource(t *testing.T) {
	t.Parallel()
	var hit []string
	for _, root := range []string{"..", "../../cmd"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				c, ok := n.(*ast.CallExpr)
				if !ok || !isHit(c.Fun) {
					return true
				}
				name, ok := c.Args[0].(*ast.BasicLit)
				if !ok {
					t.Errorf("%s: the name of a point must be a literal", files.Position(c.Pos()))
					return true
				}
				text, err := strconv.Unquote(name.Value)
				if err != nil {
					t.Errorf("%s: %v", files.Position(c.Pos()), err)
				}
				hit = append(hit, text)
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(hit)
	if d := cmp.Diff(failpoint.Names, hit); d != "" {
		t.Errorf("the list against the source (-list +source):\n%s", d)
	}
}

// isHit says whether a call is of failpoint.Hit.
func isHit(fun ast.Expr) bool {
	s, ok := fun.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != "Hit" {
		return false
	}
	room, ok := s.X.(*ast.Ident)
	return ok && room.Name == "failpoint"
}
