package trigger

// OpenView lets tests ask engines themselves.
var OpenView = openView
